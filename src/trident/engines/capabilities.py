"""Which engine takes which parameter: one table that validation, `trident capabilities` and the document are made from.

A parameter of the ensemble is taken, does nothing by contract, or is refused by name. None is ever ignored in silence.
It knows the kinds that have an adapter; a new adapter adds its column here. What TensorRT-LLM does is what 1.2.1 does:
its PyTorch backend takes penalties, bad words and seeds, and leaves them out without a word.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from trident.contract import ENGINE, ENSEMBLE, PREPROCESSING
from trident.errors import InvalidRequestError, UnsupportedParameterError
from trident.manifest import EngineKind


class Support(str, Enum):
    """What one engine does with one parameter."""

    YES = "yes"
    NO = "refused"
    NO_OP = "no-op"  # accepted and without effect, by contract


YES, NO, NO_OP = Support.YES, Support.NO, Support.NO_OP
# The columns.
KINDS = (EngineKind.OPENVINO, EngineKind.TENSORRT_LLM, EngineKind.TENSORRT_LLM_PYTORCH, EngineKind.REPLAY)


@dataclass(frozen=True)
class Capability:
    """One input of the ensemble."""

    name: str  # as a client sends it
    support: tuple[Support, ...]  # in the order of KINDS
    neutral: Any = None  # asks for nothing, so that no engine refuses it; empty texts and lists never ask for anything
    low: float | None = None  # range of values, both ends included, written as they are given
    high: float | None = None
    note: str = ""

    def of(self, kind: EngineKind) -> Support:
        """What engines of this kind do with it."""
        return self.support[KINDS.index(kind)]

    @property
    def range_text(self) -> str:
        """`low..high`, or an empty string."""
        return "" if self.low is None else f"{self.low}..{self.high}"


def _row(name: str, *support: Support, **more: Any) -> Capability:
    """`support`: one for all kinds, or one for each."""
    return Capability(name, support * len(KINDS) if len(support) == 1 else support, **more)


_SIMULATED = "the replay engine chooses no tokens"
_TOP = "OpenVINO gives the chosen token's only; a TensorRT engine needs the option gather_generation_logits"
_GUIDES = "json, json_schema, regex, ebnf_grammar, structural_tag (not on TensorRT engines)"
_NO_PENALTIES = "TensorRT-LLM's PyTorch sampler has no penalties"
_COUNTED = "TensorRT-LLM's PyTorch sampler counts the prompt"
_KEEPING = "llama3_json and mistral keep special tokens in the text"
TABLE: tuple[Capability, ...] = (
    _row("text_input", YES),
    _row("messages", YES, note="OpenAI chat messages as JSON; instead of text_input"),
    _row("tools", YES, note="where the chat template has a place for them"),
    _row("chat_template_kwargs", YES, note="the template's own variables"),
    _row("prompt_template", YES, note="name@version; instead of text_input or messages"),
    _row("prompt_variables", YES, note="of prompt_template, a JSON object"),
    _row("truncate", YES, note="left, right or error (the default) when the prompt is too long"),
    _row("max_tokens", YES, note="required; up to the engine's max_output_tokens"),
    _row("stop_words", YES, note="up to 64; matched in the text, wherever tokens begin"),
    _row("end_id", YES, note="-1: none"),
    _row("exclude_input_in_output", YES, note="without stream, the prompt is echoed unless this is true"),
    _row("skip_special_tokens", YES, note="false leaves them in the text"),
    _row("tool_parser", YES, note="hermes, llama3_json, mistral, none; with tools, the template's own. " + _KEEPING),
    _row("reasoning_parser", YES, note="think, none; with messages, the chat template's own"),
    _row("stream", YES),
    _row("temperature", YES, YES, YES, NO_OP, low=0, high=100, note="0: greedy. " + _SIMULATED),
    _row("top_k", YES, YES, YES, NO_OP, low=0, high=1 << 20, note="0: all; 1: greedy"),
    _row("top_p", YES, YES, YES, NO_OP, low=0, high=1, note="0 means 1, as upstream"),
    _row("seed", YES, YES, NO_OP, NO_OP, note="without it a random one; TensorRT-LLM's PyTorch sampler has its own"),
    _row("random_seed", YES, YES, NO_OP, NO_OP, note="old name of seed"),
    _row("repetition_penalty", YES, YES, NO, NO_OP, neutral=1.0, low=0.01, high=100, note=_NO_PENALTIES),
    _row("presence_penalty", YES, YES, NO, NO_OP, neutral=0.0, low=-2, high=2, note=_NO_PENALTIES),
    _row("frequency_penalty", YES, YES, NO, NO_OP, neutral=0.0, low=-2, high=2, note=_NO_PENALTIES),
    _row("min_tokens", YES, YES, NO, YES, neutral=0, low=0, high=(1 << 31) - 1, note="at most max_tokens. " + _COUNTED),
    _row("min_length", YES, YES, NO, YES, neutral=0, low=0, high=(1 << 31) - 1, note="old name of min_tokens"),
    _row("num_return_sequences", YES, low=1, high=16),
    _row("beam_width", YES, YES, NO, NO, neutral=1, low=1, high=8, note="one response, when the search has ended"),
    _row("length_penalty", YES, YES, NO_OP, NO_OP, neutral=1.0, low=-10, high=10, note="of beam search"),
    _row("return_log_probs", YES, YES, YES, NO, neutral=False),
    _row("top_logprobs", NO, YES, YES, NO, neutral=0, low=0, high=20, note=_TOP),
    _row("guided_decoding_guide_type", YES, YES, YES, NO, note=_GUIDES),
    _row("guided_decoding_guide", YES, YES, YES, NO),
    _row("bad_words", NO, YES, NO, NO, note="neither OpenVINO nor TensorRT-LLM's PyTorch sampler can forbid words"),
    _row("embedding_bias_words", NO, YES, YES, NO, note="OpenVINO has no logit bias"),
    _row("embedding_bias_weights", NO, YES, YES, NO),
    _row("lora_name", YES, YES, YES, NO, note="an adapter that the engine's manifest lists"),
    _row("lora_task_id", NO, note="send lora_name"),
    _row("lora_weights", NO, note="send lora_name"),
    _row("lora_config", NO, note="send lora_name"),
    _row("cache_salt", NO, YES, YES, YES, note="OpenVINO's prefix cache cannot be split; TensorRT-LLM's since 1.1"),
    _row("timeout_ms", YES, low=1, high=(1 << 31) - 1, note="the queue included; as Triton's timeout"),
    _row("priority", YES, low=1, high=5, note="1 first, 3 the default; of what waits for a place in the batch"),
    _row("return_perf_metrics", YES, neutral=False),
    _row("return_num_input_tokens", YES),
    _row("return_num_output_tokens", YES),
    _row("return_context_logits", NO, neutral=False),
    _row("return_generation_logits", NO, neutral=False),
    _row("pad_id", NO_OP, note="sequences of a running batch are never padded"),
    _row("decoder_text_input", NO, note="of encoder-decoder models"),
    _row("prompt_table_extra_id", NO, note="of multimodal models"),
    _row("prompt_embedding_table", NO, note="of multimodal models"),
    _row("prompt_vocab_size", NO, neutral=0, note="of multimodal models"),
)  # fmt: skip
CAPABILITIES = {row.name: row for row in TABLE}

# The engine model's or preprocessing's name of an input -> the ensemble's; all others are the same or internal.
CLIENT_NAMES = {
    inner: outer
    for step in ENSEMBLE.steps
    if step.model in {ENGINE.name, PREPROCESSING.name}
    for inner, outer in step.input_map.items()
    if not outer.startswith("_")
} | {
    "bad_words_list": "bad_words",
    "embedding_bias": "embedding_bias_words",
    "decoder_input_ids": "decoder_text_input",
    "prompt_table_extra_ids": "prompt_table_extra_id",
    "request_output_len": "max_tokens",
    "end_id": "end_id",
    "pad_id": "pad_id",
}  # fmt: skip


def client_name(name: str) -> str:
    """What a client of the ensemble calls an input of the engine model or of preprocessing."""
    return CLIENT_NAMES.get(name, name)


def check_supported(kind: EngineKind, asked: Iterable[tuple[str, Any]]) -> None:
    """Refuse what engines of this kind cannot do.

    Args:
        kind: of the engine that is served.
        asked: the ensemble's name and the value of every parameter that was sent and is not empty.

    Raises:
        UnsupportedParameterError: the first of them that is refused, by name.
    """
    for name, value in asked:
        row = CAPABILITIES[name]
        if row.of(kind) is NO and (row.neutral is None or value != row.neutral):
            shown = f"={value}" if isinstance(value, (int, float)) else ""
            hint = f" (only {row.neutral} is)" if isinstance(row.neutral, (int, float)) else ""
            why = f": {row.note}" if row.note else ""
            raise UnsupportedParameterError(f"{name}{shown} is not supported by this engine{hint}{why}")


def check_range(name: str, value: float) -> None:
    """Refuse a number outside of the table's range, NaN included.

    Raises:
        InvalidRequestError: names the parameter, the range and the value.
    """
    row = CAPABILITIES[name]
    if row.low is not None and row.high is not None and not row.low <= value <= row.high:
        shown = value if isinstance(value, int) else f"{value:g}"  # 0.1 as it was sent, not as 32 bits hold it
        raise InvalidRequestError(f"{name} must be in {row.range_text}, got {shown}")
