"""What a finished attempt was worth, after the clock has stopped: the judge, its queue, samples and their recorder.

May import `plan` and `net`.
"""
