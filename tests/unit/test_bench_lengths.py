"""Lengths and arrivals of a load: drawn from the distribution that was asked for."""

from __future__ import annotations

import math
import random
import statistics
from itertools import islice, pairwise

import pytest

from trident.bench.arrivals import arrivals_s
from trident.bench.lengths import SHAREGPT_ANSWERS, SHAREGPT_PROMPTS, Lengths, parse_lengths
from trident.errors import InvalidRequestError


def test_a_number_is_that_length_every_time():
    lengths = parse_lengths("64", SHAREGPT_PROMPTS)
    assert {lengths.draw(random.Random(seed)) for seed in range(100)} == {64}


def test_a_log_normal_has_the_mean_that_was_asked_for_and_stays_below_its_maximum():
    rng = random.Random(0)
    lengths = parse_lengths("lognormal:200:0.5:100000", SHAREGPT_PROMPTS)
    drawn = [lengths.draw(rng) for _ in range(20_000)]
    assert statistics.fmean(drawn) == pytest.approx(200, rel=0.02)
    assert statistics.stdev(map(math.log, drawn)) == pytest.approx(0.5, rel=0.02)
    short = parse_lengths("lognormal:200:2:300", SHAREGPT_PROMPTS)
    assert {1, 300} <= {short.draw(rng) for _ in range(20_000)} <= set(range(1, 301))


def test_sharegpt_stands_for_the_stated_parameters_and_every_form_is_written_as_it_is_read():
    assert parse_lengths("sharegpt", SHAREGPT_ANSWERS) == SHAREGPT_ANSWERS
    for lengths in (SHAREGPT_PROMPTS, SHAREGPT_ANSWERS, Lengths(64)):
        assert parse_lengths(str(lengths), SHAREGPT_PROMPTS) == lengths


@pytest.mark.parametrize(
    "text",
    ["", "many", "0", "-3", "1.5", "64:1", "fixed:1:2", "lognormal", "lognormal:100:1", "lognormal:100:x:10",
     "lognormal:0:1:10", "lognormal:inf:1:10", "lognormal:nan:1:10", "lognormal:100:9:10", "lognormal:100:1:0"],
)  # fmt: skip
def test_anything_else_is_refused_by_name(text):
    with pytest.raises(InvalidRequestError, match=f"'{text}'"):
        parse_lengths(text, SHAREGPT_PROMPTS)


def gaps(rate: float, burstiness: float) -> list[float]:
    due = list(islice(arrivals_s(rate, burstiness, random.Random(1)), 20_000))
    assert due[0] == 0
    return [after - before for before, after in pairwise(due)]


@pytest.mark.parametrize("burstiness", [0.25, 1.0, 4.0])
def test_arrivals_keep_the_rate_and_deviate_as_the_burstiness_says(burstiness):
    found = gaps(5.0, burstiness)
    assert statistics.fmean(found) == pytest.approx(0.2, rel=0.05)
    assert statistics.stdev(found) == pytest.approx(0.2 / math.sqrt(burstiness), rel=0.05)


def test_an_infinite_burstiness_is_a_metronome():
    assert gaps(4.0, math.inf) == pytest.approx([0.25] * 19_999)


@pytest.mark.parametrize(("rate", "burstiness"), [(0, 1), (-1, 1), (math.inf, 1), (math.nan, 1), (1, 0), (1, -2)])
def test_a_rate_or_a_burstiness_that_is_not_above_zero_is_refused(rate, burstiness):
    with pytest.raises(InvalidRequestError, match="above 0"):
        arrivals_s(rate, burstiness, random.Random(0))
