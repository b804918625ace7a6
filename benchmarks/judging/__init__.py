"""What a finished attempt was worth, after the clock has stopped: judge, its queue, samples and their recorder."""
