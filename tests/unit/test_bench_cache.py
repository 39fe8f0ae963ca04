"""What `trident bench cache` says of the labelled pairs: what counts as what, and the picture."""

import pytest

from trident.bench import ledger_cost
from trident.bench.cache import Judged, plot, rates, report
from trident.errors import HostError
from trident.gateway.config import SemanticSettings


def judged(is_paraphrase, cosine, agrees, is_held_out=False):
    return Judged(is_paraphrase, is_held_out, cosine, agrees)


JUDGED = [
    judged(True, 0.9, True), judged(True, 0.9, False), judged(True, 0.7, True), judged(True, 0.9, True, True),
    judged(False, 0.9, False), judged(False, 0.9, True), judged(False, 0.7, True), judged(False, 0.5, False, True),
]  # fmt: skip


def test_a_hit_is_right_or_false_and_both_gates_count():
    found = rates(JUDGED, 0.8, is_gated=True)
    assert (found["recall"], found["false_hit_rate"], found["precision"]) == (2 / 4, 1 / 4, 2 / 3)
    found = rates(JUDGED, 0.8, is_gated=False)
    assert (found["recall"], found["false_hit_rate"], found["precision"]) == (3 / 4, 2 / 4, 3 / 5)


def test_none_of_a_few_is_not_none_at_all():
    """Wilson's interval of 0 of 219 reaches to 1.7 %."""
    others = [judged(False, 0.1, False)] * 219
    assert rates(others, 0.8, is_gated=True)["false_hit_rate_high"] == pytest.approx(0.0172, abs=1e-4)


def test_where_nothing_hits_nothing_is_wrong():
    found = rates([judged(True, 0.5, True)], 0.8, is_gated=True)
    assert (found["recall"], found["precision"]) == (0.0, 1.0)


def test_the_report_is_of_the_gateway_s_own_threshold():
    found = report(JUDGED)
    assert found["threshold"] == SemanticSettings().threshold
    assert found["recall"] == found["curve"][f"{found['threshold']:.2f}"]["both_gates"]["recall"]
    assert (found["pairs"], found["held_out"]["recall"]) == (8, 1.0)


def test_the_picture_is_written_as_its_name_says(tmp_path):
    pytest.importorskip("matplotlib", reason="no plots: the extra bench")
    curve = report(JUDGED)["curve"]
    plot(curve, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes()[:4] == b"\x89PNG"
    for broken in (tmp_path / "a.nothing", tmp_path / "no" / "a.png"):
        with pytest.raises(HostError, match="cannot write"):
            plot(curve, broken)


def test_sentences_of_the_held_out_half_are_told_apart():
    """Pairs of one sentence resemble each other."""
    made = [
        Judged(False, True, 0.9, agrees, "name", frame) for frame, agrees in (("a", True), ("a", True), ("b", False))
    ]
    found = report([*JUDGED, *made])
    assert (found["held_out_frames"]["pairs"], found["held_out_frames"]["frames"]) == (3, 2)
    assert found["held_out_frames"]["frames_with_false_hits"] == 1
    assert found["by_kind"]["name"] == pytest.approx(2 / 3)


def test_what_the_ledger_costs_is_measured_on_rows_that_arrive():
    found = ledger_cost.measure(30)
    assert found["ledger_lost"] == 0
    assert found["ledger_cpu_us"] > 0
