"""How many examples a property test looks at that has many corners: so many times those of the profile in use.

HYPOTHESIS_PROFILE=thorough (tests/conftest.py) multiplies them all.
"""

from hypothesis import settings


def many(times: int = 3) -> settings:
    """As a decorator, in place of a number of examples."""
    return settings(max_examples=times * settings().max_examples)
