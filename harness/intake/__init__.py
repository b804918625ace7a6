"""Bytes of strangers, let in: how much of an answer is taken (`limits`), how it is read (`wire_bytes`), what JSON and numbers are
believed (`json_values`), what is opened as a picture (`pictures`), how its text is shown (`shown`). One place for everybody; imports nothing
of ours.
"""
