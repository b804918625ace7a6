"""What providers promise: one folder of data each (`openapi.yaml`, `profile.yaml`), their loader and the price model.

May import nothing of ours. Everything else imports this.
"""
