"""How far the tokens of a stream are merged, on measurements written by hand."""

from __future__ import annotations

import pytest

from trident.engines.pace import Pace


def pace(step_s: float, send_s: float, max_delay_s: float) -> Pace:
    """A pace that has seen many steps and sends of these lengths."""
    made = Pace(max_delay_s)
    for number in range(200):
        made.stepped(number * step_s)
        made.sent(send_s)
    return made


@pytest.mark.parametrize(
    ("step_s", "send_s", "num_streams", "max_delay_s", "expected"),
    [
        (0.007, 0.0003, 1, 0.1, 1),  # one stream: sending is cheap beside a step
        (0.040, 0.0003, 32, 0.1, 3),  # 24% of a step: three steps to a response
        (0.040, 0.0003, 32, 0.05, 2),  # but no token waits longer than the bound
        (0.060, 0.0003, 32, 0.05, 1),  # nor for a step that comes too late
        (0.040, 0.0003, 32, 0.0, 1),  # a bound of nothing turns it off
    ],
)
def test_merging_follows_the_share_and_the_bound(step_s, send_s, num_streams, max_delay_s, expected):
    assert pace(step_s, send_s, max_delay_s).num_merged(num_streams) == expected


def test_an_idle_time_is_no_step():
    made = pace(0.04, 0.0003, 0.1)
    made.stepped(10_000.0)
    assert made.num_merged(32) == 3


def test_nothing_is_merged_before_anything_was_measured():
    assert Pace(0.1).num_merged(64) == 1
