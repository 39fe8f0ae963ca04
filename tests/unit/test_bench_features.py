"""The arithmetic of `trident bench features`, and an engine as one side of a comparison, on a scripted engine."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from tests.unit.engines.scripted_engine import ScriptedEngine
from tests.unit.manifests import MANIFEST
from trident.bench.engine_side import Workload, equal_fraction, in_turn, side_by_side
from trident.bench.features import measure
from trident.bench.kv_effect import log_prob_difference, passages
from trident.bench.lookup_effect import acceptance, other_tasks, repeating_tasks
from trident.bench.workload import Figures, Run
from trident.engines.base import EngineRequest
from trident.errors import EngineError, ManifestError
from trident.evaluate.speed import Answer, complete
from trident.manifest import EngineKind, write_manifest


class ScriptedAtOnce(ScriptedEngine):
    """Answers when as many have been submitted as the test waits for."""

    def __init__(self, *steps) -> None:
        super().__init__()
        self.steps = steps

    def submit(self, sequence) -> None:
        super().submit(sequence)
        if len(self.submitted) == 2:
            for step in self.steps:
                self.step(*((self.submitted[number], *news) for number, *news in step))


def requests(count: int = 2) -> list[EngineRequest]:
    return [EngineRequest(np.array([number], np.int32), 3) for number in range(count)]


def test_answers_come_in_the_order_of_the_requests_with_a_time_for_each_token():
    engine = ScriptedAtOnce([(1, [7, 8])], [(0, [5]), (1, [9], "length")], [(0, [6], "stop")])
    first, second = complete(engine, requests())
    assert (first.token_ids, second.token_ids) == ([5, 6], [7, 8, 9])
    assert second.arrivals_s[0] == second.arrivals_s[1] < second.arrivals_s[2] == first.arrivals_s[0]
    assert first.arrivals_s[0] < first.arrivals_s[1]


def test_a_request_that_the_engine_refuses_ends_the_measurement():
    engine = ScriptedAtOnce([(0, [5], "stop"), (1, [], EngineError("no such adapter"))])
    with pytest.raises(EngineError, match="no such adapter"):
        complete(engine, requests())


def test_answers_are_equal_up_to_the_first_token_that_differs():
    answers = [Answer([1, 2, 3, 4]), Answer([5, 6])]
    assert equal_fraction(answers, answers) == 1.0
    assert equal_fraction(answers, [Answer([1, 2, 9, 4]), Answer([5, 6, 7])]) == pytest.approx(4 / 6)


def test_what_is_accepted_is_all_but_one_token_of_each_step():
    """Six tokens in three steps, two proposed in each at most."""
    found = acceptance([Answer([1, 2, 3, 4], [0.1, 0.2, 0.2, 0.2]), Answer([5, 6], [0.1, 0.1])], 2)
    assert found == {"tokens_per_step": 2.0, "acceptance_rate": 0.5}


def test_log_probabilities_are_compared_while_both_say_the_same():
    answers = [Answer([1, 2, 3], log_probs=[-1.0, -2.0, -3.0])]
    others = [Answer([1, 2, 9], log_probs=[-1.5, -1.9, -0.1])]
    assert log_prob_difference(answers, others) == pytest.approx((0.5 + 0.1) / 2)


def figures(tokens_per_s: float) -> Figures:
    return Figures(tokens_per_s, 20.0, 30.0, 4.0, 5.0, 1.0)


def test_a_ratio_is_the_second_side_over_the_first():
    found = side_by_side({"f16": {1: figures(100.0)}, "u8": {1: figures(110.0)}})
    assert found == {
        "c1": {
            "f16_tokens_per_s": 100.0, "u8_tokens_per_s": 110.0, "ratio": pytest.approx(1.1),
            "f16_ttft_p50_ms": 20.0, "u8_ttft_p50_ms": 20.0,
        },
    }  # fmt: skip


def test_a_side_that_fails_ends_the_comparison_and_is_named():
    async def works(texts) -> Run:
        return Run(1.0, len(texts), [[0.5] for _ in texts], [0.0 for _ in texts])

    async def fails(_) -> Run:
        raise EngineError("the KV cache is too small")

    turns = in_turn({"f16": works, "u8": fails}, lambda count, _: ["text"] * count, (1,), 1, lambda _: None)
    with pytest.raises(EngineError, match="u8: the KV cache is too small"):
        asyncio.run(turns)


def test_tasks_repeat_for_a_seed_and_passages_do_not_overlap():
    for tasks in (repeating_tasks, other_tasks):
        assert tasks(4, 1) == tasks(4, 1) != tasks(4, 2)
        assert len(set(tasks(4, 1))) == 4
    first, second = passages(2, 30)
    assert len(first.split()) == len(second.split()) == 30
    assert passages(1, 60) == [f"{first} {second}"]


def test_a_simulated_engine_has_nothing_to_measure(tmp_path):
    write_manifest(tmp_path, MANIFEST.model_copy(update={"kind": EngineKind.REPLAY}))
    with pytest.raises(ManifestError, match="is of kind replay; these features are measured on kind openvino"):
        measure(tmp_path, ["lora"], Workload(4, 4, 2), 1, lambda _: None)
