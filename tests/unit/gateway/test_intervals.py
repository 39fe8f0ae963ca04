"""Confidence intervals: against printed tables, and against how often they hold what they should."""

import numpy as np
import pytest

from trident.gateway.intervals import (
    Estimate,
    mean,
    mean_difference,
    quantile,
    share,
    share_difference,
    student_quantile,
    superiority,
)


@pytest.mark.parametrize(("freedom", "printed"), [(4, 2.776), (5, 2.571), (10, 2.228), (30, 2.042), (120, 1.980)])
def test_students_quantiles_are_those_of_the_tables(freedom, printed):
    assert student_quantile(freedom) == pytest.approx(printed, rel=1e-3)


@pytest.mark.parametrize(
    ("hits", "total", "low", "high"), [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611)]
)
def test_wilsons_intervals_are_newcombes_printed_ones(hits, total, low, high):
    """Source: R. G. Newcombe, "Two-sided confidence intervals for the single proportion", 1998, table I, method 3."""
    found = share(hits, total)
    assert (found.low, found.high) == pytest.approx((low, high), abs=6e-5)


def test_the_difference_of_shares_is_newcombes_printed_one():
    """Source: R. G. Newcombe, "Interval estimation for the difference between independent proportions", 1998,
    table II, contrast (a), method 10: 56/70 against 48/80 is 0.0524 to 0.3339.
    """
    found = share_difference((48, 80), (56, 70))
    assert (found.value, found.low, found.high) == pytest.approx((0.2, 0.0524, 0.3339), abs=6e-5)


def test_nothing_is_said_of_nothing_and_no_interval_of_too_little():
    empty, few = np.array([]), np.array([1.0, 2.0])
    assert share(0, 0) is mean(empty) is quantile(empty, 0.5) is mean_difference(empty, few) is None
    assert superiority(few, empty) is share_difference((0, 0), (1, 2)) is None
    assert mean(few) == Estimate(1.5)
    assert mean_difference(few, few + 1) == Estimate(1.0)
    assert superiority(few, few) == Estimate(0.5)
    assert quantile(few, 0.95).high is None


def test_values_that_are_all_the_same_differ_by_nothing_for_certain():
    same = np.full(10, 3.0)
    assert mean_difference(same, same) == Estimate(0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("estimate", "truth"),
    [
        (lambda first, _: mean(first), 1.0),
        (lambda first, _: quantile(first, 0.5), np.log(2)),
        (lambda first, _: quantile(first, 0.9), np.log(10)),
        (mean_difference, 1.0),
    ],
)
def test_95_of_100_intervals_hold_the_truth(estimate, truth):
    """Of exponential samples, which are skewed as latencies are; within what 400 repetitions can tell."""
    random = np.random.default_rng(11)
    held = 0
    for _ in range(400):
        found = estimate(random.exponential(1.0, 80), random.exponential(2.0, 120))
        held += found.low <= truth <= found.high
    assert 0.91 <= held / 400 <= 0.99


def test_the_win_rate_is_the_share_of_pairs_that_the_second_wins_ties_half():
    first, second = np.array([0.0, 0.0, 1.0, 1.0, 1.0]), np.array([1.0, 1.0, 1.0, 1.0, 0.0])
    pairs = [(one < two) + (one == two) / 2 for one in first for two in second]
    found = superiority(first, second)
    assert found.value == pytest.approx(np.mean(pairs))
    assert found.low < found.value < found.high
