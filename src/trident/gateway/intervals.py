"""95 % confidence intervals, each by a named formula. It knows nothing of requests.

Means: Student's and Welch's t. Shares: Wilson's score; their difference: Newcombe's. Quantiles: order statistics.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
_Z = NormalDist().inv_cdf(0.975)
_MIN_VALUES = 5  # fewer say nothing of how they scatter
_NUM_RESAMPLES = 1000


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure and its interval; None: there is too little to say."""

    value: float
    low: float | None = None
    high: float | None = None


def share(num_hits: int, total: int) -> Estimate | None:
    """Of `total`; None of none. Source: E. B. Wilson, 1927, the score interval."""
    if total == 0:
        return None
    rate = num_hits / total
    middle = rate + _Z**2 / (2 * total)
    reach = _Z * math.sqrt(rate * (1 - rate) / total + _Z**2 / (4 * total**2))
    scale = 1 + _Z**2 / total
    low, high = (middle - reach) / scale, (middle + reach) / scale
    return Estimate(rate, low if num_hits else 0.0, high if num_hits < total else 1.0)


def share_difference(first: tuple[int, int], second: tuple[int, int]) -> Estimate | None:
    """Second share minus first, each (hits, total). Source: R. G. Newcombe, 1998, method 10."""
    one, two = share(*first), share(*second)
    if one is None or two is None or one.low is None or one.high is None or two.low is None or two.high is None:
        return None
    difference = two.value - one.value
    low = difference - math.hypot(two.value - two.low, one.high - one.value)
    high = difference + math.hypot(two.high - two.value, one.value - one.low)
    return Estimate(difference, low, high)


def mean(values: Values) -> Estimate | None:
    """`values`: float64[n]; None of none. Source: Student, 1908."""
    if not values.size:
        return None
    middle = float(values.mean())
    if values.size < _MIN_VALUES:
        return Estimate(middle)
    reach = student_quantile(values.size - 1) * float(values.std(ddof=1)) / math.sqrt(values.size)
    return Estimate(middle, middle - reach, middle + reach)


def mean_difference(first: Values, second: Values) -> Estimate | None:
    """Second mean minus first, of independent samples. Source: B. L. Welch, 1947."""
    if not first.size or not second.size:
        return None
    difference = float(second.mean() - first.mean())
    if min(first.size, second.size) < _MIN_VALUES:
        return Estimate(difference)
    errors = [float(values.var(ddof=1)) / values.size for values in (first, second)]
    total = sum(errors)
    if total == 0:
        return Estimate(difference, difference, difference)
    freedom = total**2 / sum(
        error**2 / (values.size - 1) for error, values in zip(errors, (first, second), strict=True)
    )
    reach = student_quantile(freedom) * math.sqrt(total)
    return Estimate(difference, difference - reach, difference + reach)


def quantile(values: Values, level: float) -> Estimate | None:
    """Of any distribution. Source: W. J. Conover, Practical Nonparametric Statistics, "Confidence interval for a
    quantile": the order statistics between which it lies, by the normal approximation of the binomial.
    """
    if not values.size:
        return None
    found = float(np.quantile(values, level))
    reach = _Z * math.sqrt(values.size * level * (1 - level))
    low, high = math.floor(values.size * level - reach), math.ceil(values.size * level + reach)
    if low < 1 or high > values.size:
        return Estimate(found)  # too few beyond it
    ordered = np.sort(values)
    return Estimate(found, float(ordered[low - 1]), float(ordered[high - 1]))


def superiority(first: Values, second: Values) -> Estimate | None:
    """How often a value of the second is larger than one of the first, ties half: its win rate.

    Sources: Mann and Whitney, 1947; the interval by the percentile bootstrap, Efron, 1979.
    """
    if not first.size or not second.size:
        return None
    found = _win_rate(first, second)
    if min(first.size, second.size) < _MIN_VALUES:
        return Estimate(found)
    random = np.random.default_rng(0)  # the same values give the same interval
    rates = [
        _win_rate(random.choice(first, first.size), random.choice(second, second.size)) for _ in range(_NUM_RESAMPLES)
    ]
    low, high = np.quantile(rates, (0.025, 0.975))
    return Estimate(found, float(low), float(high))


def student_quantile(freedom: float) -> float:
    """Of the t distribution at 97.5 %; within 0.1 % from 4 degrees of freedom on.

    Source: Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.5.
    """
    z = _Z
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / freedom ** (power + 1) for power, term in enumerate(terms))


def _win_rate(first: Values, second: Values) -> float:
    ordered = np.sort(first)
    below = np.searchsorted(ordered, second, "left")
    ties = np.searchsorted(ordered, second, "right") - below
    return float((below + ties / 2).mean() / first.size)
