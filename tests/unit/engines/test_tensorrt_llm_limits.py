"""What TensorRT-LLM would ignore or fail at is refused by name."""

from __future__ import annotations

import pytest

from tests.unit.engines.listener import ask
from tests.unit.engines.tensorrt_llm_engines import KINDS, manifest_of
from trident.engines.base import Sampling
from trident.engines.tensorrt_llm_limits import check_request, check_version
from trident.errors import HostError, UnsupportedParameterError
from trident.manifest import PromptLookup
from trident.text.guides import Guide, GuideKind

ENGINE, PYTORCH = KINDS
LOOKUP = PromptLookup(kind="prompt_lookup", num_draft_tokens=3, max_ngram_tokens=2)
JSON, TAG = Guide(GuideKind.JSON, ""), Guide(GuideKind.STRUCTURAL_TAG, "{}")
LOADED_BARE = {"options": {"skip_tokenizer_init": True}}
SPECULATING = {"speculation": LOOKUP}


@pytest.mark.parametrize(
    ("kind", "changes", "parameters", "problem"),
    [
        (ENGINE, {}, {"guide": TAG}, "guided_decoding_guide_type 'structural_tag' is not supported by this engine"),
        (ENGINE, LOADED_BARE, {"guide": JSON}, "guided_decoding_guide .* it is loaded without its tokenizer"),
        (PYTORCH, LOADED_BARE, {"guide": JSON}, "guided_decoding_guide .* it is loaded without its tokenizer"),
        (ENGINE, {}, {"top_logprobs": 2}, "top_logprobs=2 .* without the option gather_generation_logits"),
        (ENGINE, {}, {"sampling": Sampling(0.7, 1025)}, "top_k=1025 .* it takes 1024 at most, or 0"),
        (PYTORCH, SPECULATING, {"wants_log_probs": True}, "return_log_probs .* it speculates"),
        (PYTORCH, SPECULATING, {"min_tokens": 2}, "min_tokens .* it speculates"),
    ],
)
def test_what_an_engine_cannot_do_is_refused_by_name(kind, changes, parameters, problem):
    with pytest.raises(UnsupportedParameterError, match=problem):
        check_request(ask([5], **parameters).request, manifest_of(kind, **changes))


@pytest.mark.parametrize(
    ("kind", "changes", "parameters"),
    [
        (PYTORCH, {}, {"guide": TAG}),
        (ENGINE, {}, {"guide": JSON}),
        (ENGINE, {"options": {"gather_generation_logits": True}}, {"top_logprobs": 2}),
        (ENGINE, {}, {"sampling": Sampling(0.7, 1024)}),
        (PYTORCH, {}, {"top_logprobs": 2, "sampling": Sampling(0.7, 1025)}),
        (PYTORCH, SPECULATING, {"sampling": Sampling(0.7)}),
    ],
)
def test_what_it_can_do_is_not(kind, changes, parameters):
    check_request(ask([5], **parameters).request, manifest_of(kind, **changes))


@pytest.mark.parametrize("version", ["1.0.0", "1.0.3.2510", "1.1.0", "1.2.0rc6", "1.2.1"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_versions_of_nvidia_s_images_are_taken(kind, version):
    assert check_version(kind, version) == tuple(int(part) for part in version.split(".")[:2])


def test_a_version_that_is_none_is_named():
    with pytest.raises(HostError, match="its version is 'unknown'"):
        check_version(ENGINE, "unknown")
