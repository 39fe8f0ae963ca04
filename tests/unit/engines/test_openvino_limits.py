"""What OpenVINO cannot do together is refused by name, and everything else is let through."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.unit.manifests import LIMITS, MANIFEST
from trident.engines.base import EngineRequest, Sampling
from trident.engines.openvino_limits import check_request, max_blocks_of
from trident.errors import PromptTooLongError, UnsupportedParameterError
from trident.manifest import DraftModel, Manifest, PromptLookup

LOOKUP = PromptLookup(kind="prompt_lookup", num_draft_tokens=3, max_ngram_tokens=2)
DRAFT = DraftModel(kind="draft_model", path="draft", num_draft_tokens=3)
SAMPLED = Sampling(temperature=0.7)


def request(num_prompt_tokens: int = 4, max_tokens: int = 8, **more: Any) -> EngineRequest:
    return EngineRequest(np.zeros(num_prompt_tokens, np.int32), max_tokens, **more)


def manifest(**changes: Any) -> Manifest:
    """Of an engine with 256 tokens of KV cache."""
    limits = LIMITS.model_copy(update={"kv_cache_tokens": 256})
    return MANIFEST.model_copy(update={"limits": limits, **changes})


@pytest.mark.parametrize(
    "allowed",
    [
        request(sampling=SAMPLED, min_tokens=4, wants_log_probs=True),
        request(sampling=Sampling(repetition_penalty=1.2, presence_penalty=1.0, frequency_penalty=1.0)),
        request(beam_width=3, length_penalty=2.0, wants_log_probs=True),
        request(beam_width=2, sampling=Sampling(temperature=5.0, top_k=1)),
    ],
)
def test_what_an_engine_without_speculation_can_do_is_let_through(allowed: EngineRequest) -> None:
    check_request(allowed, manifest())


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("repetition_penalty", {"sampling": Sampling(repetition_penalty=1.1)}),
        ("presence_penalty", {"sampling": Sampling(presence_penalty=-0.5)}),
        ("frequency_penalty", {"sampling": Sampling(frequency_penalty=0.5)}),
        ("min_tokens", {"min_tokens": 1}),
    ],
)
def test_beams_and_what_they_would_ignore_are_refused(name: str, parameters: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedParameterError, match=rf"beam_width above 1 does not go with {name} on this engine"):
        check_request(request(beam_width=2, **parameters), manifest())
    check_request(request(**parameters), manifest())


def test_beams_that_cannot_all_be_in_the_kv_cache_are_refused() -> None:
    """Of 8 blocks the prompt needs one and each beam two."""
    check_request(request(beam_width=3, max_tokens=32), manifest())
    with pytest.raises(PromptTooLongError, match=r"beam_width=4 .* needs 288 tokens of KV cache, this engine has 256"):
        check_request(request(beam_width=4, max_tokens=32), manifest())


@pytest.mark.parametrize("speculation", [LOOKUP, DRAFT])
@pytest.mark.parametrize(("name", "parameters"), [("beam_width", {"beam_width": 2}), ("min_tokens", {"min_tokens": 1})])
def test_speculation_refuses_what_would_go_wrong(speculation: Any, name: str, parameters: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedParameterError, match=rf"{name}.* is not supported by this engine: it speculates"):
        check_request(request(**parameters), manifest(speculation=speculation))


def test_a_draft_model_serves_greedy_requests_only() -> None:
    sampled = request(sampling=SAMPLED)
    check_request(sampled, manifest(speculation=LOOKUP))
    with pytest.raises(UnsupportedParameterError, match=r"temperature above 0 .* send temperature 0 or top_k 1"):
        check_request(sampled, manifest(speculation=DRAFT))
    check_request(request(sampling=Sampling(temperature=0.7, top_k=1)), manifest(speculation=DRAFT))


@pytest.mark.parametrize(
    ("asked", "num_blocks"),
    [
        (request(31, 1), 1),
        (request(32, 1), 2),
        (request(1, 64), 3),
        (request(33, 32, beam_width=2), 2 + 2 * 2),
    ],
)
def test_a_request_needs_blocks_for_all_of_its_tokens(asked: EngineRequest, num_blocks: int) -> None:
    assert max_blocks_of(asked) == num_blocks


def test_proposed_tokens_need_blocks_too() -> None:
    assert max_blocks_of(request(24, 8, wants_log_probs=True), num_draft_tokens=3) == 2
