"""What `trident bench cache` says of the labelled pairs: what counts as what, and the picture."""

import pytest

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
