"""The promises a person looks for, a module for each subject, none of which imports another.

What `harness/rules` may import, and the machinery that lies there.
"""
