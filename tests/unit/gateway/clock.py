"""The time of a test."""


class Clock:
    """Goes where a test says."""

    def __init__(self, now=0.0):
        self.now = now

    def __call__(self):
        return self.now
