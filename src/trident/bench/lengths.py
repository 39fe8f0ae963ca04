"""How long prompts and answers are: one number, or drawn from a log-normal distribution whose parameters are stated."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from trident.errors import InvalidRequestError

_FORMS = "a number, lognormal:MEAN:SIGMA:MAX, or sharegpt"


@dataclass(frozen=True)
class Lengths:
    """Tokens. With `sigma` 0 every length is the mean; no length is below 1 or above `max_tokens`."""

    mean_tokens: float  # of the distribution before it is cut at `max_tokens`
    sigma: float = 0.0  # deviation of the logarithm
    max_tokens: int = 1 << 30

    def draw(self, rng: random.Random) -> int:
        """The next length; one above `max_tokens` becomes it."""
        mu = math.log(self.mean_tokens) - self.sigma**2 / 2  # so that the mean is the one that was asked for
        return max(1, min(self.max_tokens, round(math.exp(rng.gauss(mu, self.sigma)))))

    def __str__(self) -> str:
        """As `parse_lengths` reads it."""
        if not self.sigma:
            return f"{self.mean_tokens:g}"
        return f"lognormal:{self.mean_tokens:g}:{self.sigma:g}:{self.max_tokens}"


# Not the conversations themselves. The means are ShareGPT's as vLLM's authors print them (arXiv:2309.06180, figure 11);
# that lengths are log-normal and the sigmas are assumptions; the cut is that of their chat workload (section 6.5).
SHAREGPT_PROMPTS = Lengths(161.31, 1.0, 1024)
SHAREGPT_ANSWERS = Lengths(337.99, 0.8, 1024)


def parse_lengths(text: str, sharegpt: Lengths) -> Lengths:
    """From `64`, `lognormal:MEAN:SIGMA:MAX` or `sharegpt`, which stands for the given one.

    Raises:
        InvalidRequestError: another form, or a number out of range.
    """
    if text == "sharegpt":
        return sharegpt
    kind, *numbers = text.split(":") if ":" in text else ("fixed", text)
    try:
        if kind == "fixed":
            (length,) = numbers
            lengths = Lengths(int(length))
        else:
            mean, sigma, most = numbers if kind == "lognormal" else []
            lengths = Lengths(float(mean), float(sigma), int(most))
    except ValueError:
        raise InvalidRequestError(f"'{text}' is no distribution of lengths; give {_FORMS}") from None
    if not (1 <= lengths.mean_tokens < math.inf and 0 <= lengths.sigma <= 4 and lengths.max_tokens >= 1):
        raise InvalidRequestError(f"'{text}': the mean and the maximum must be at least 1, sigma from 0 to 4")
    return lengths
