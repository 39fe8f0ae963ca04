"""Every tensor of every model of the ensemble, once; and of the model `embedding`.

The hand-written `config.pbtxt` files are tested against this module (`trident check` does the same for
a user). Names, dtypes and dims are those of NVIDIA's `inflight_batcher_llm` repository, TensorRT-LLM
1.0 to 1.2.1, so that its clients work unmodified; what Trident adds is marked and always optional.
It knows nothing of Triton's Python API, of tokenizers or of engines. It is long because it is one table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Dtype = Literal["BOOL", "INT32", "INT64", "UINT64", "FP16", "FP32", "STRING"]


@dataclass(frozen=True)
class Tensor:
    """One input or output. `dims` exclude the batch dimension; -1 is any length."""

    name: str
    dtype: Dtype
    dims: tuple[int, ...] = (1,)
    optional: bool = True  # of inputs; an output may always be absent
    ragged: bool = False  # allow_ragged_batch
    ours: bool = False  # added by Trident


@dataclass(frozen=True)
class Step:
    """One step of the ensemble: tensor of the composing model -> tensor of the ensemble."""

    model: str
    input_map: dict[str, str]
    output_map: dict[str, str]


@dataclass(frozen=True)
class Model:
    """One model of the repository."""

    name: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    decoupled: bool = False
    steps: tuple[Step, ...] = ()  # of an ensemble

    @property
    def is_ensemble(self) -> bool:
        """Whether Triton runs it as a pipeline of other models."""
        return bool(self.steps)


def _ours(name: str, dtype: Dtype, dims: tuple[int, ...] = (1,)) -> Tensor:
    return Tensor(name, dtype, dims, ours=True)


PREPROCESSING = Model(
    "preprocessing",
    inputs=(
        Tensor("QUERY", "STRING"),  # required upstream; here it or MESSAGES
        Tensor("DECODER_QUERY", "STRING"),
        Tensor("REQUEST_OUTPUT_LEN", "INT32"),  # required, by preprocessing itself; see max_tokens
        Tensor("BAD_WORDS_DICT", "STRING", (-1,)),
        Tensor("STOP_WORDS_DICT", "STRING", (-1,)),
        Tensor("EMBEDDING_BIAS_WORDS", "STRING", (-1,)),
        Tensor("EMBEDDING_BIAS_WEIGHTS", "FP32", (-1,)),
        Tensor("END_ID", "INT32"),
        Tensor("PAD_ID", "INT32"),
        Tensor("PROMPT_TABLE_EXTRA_ID", "UINT64"),
        _ours("MESSAGES", "STRING"),
        _ours("TOOLS", "STRING"),
        _ours("CHAT_TEMPLATE_KWARGS", "STRING"),
        _ours("EXCLUDE_INPUT_IN_OUTPUT", "BOOL"),
        _ours("TRUNCATE", "STRING"),
        _ours("PROMPT_TEMPLATE", "STRING"),
        _ours("PROMPT_VARIABLES", "STRING"),
        _ours("SKIP_SPECIAL_TOKENS", "BOOL"),
        _ours("TOOL_PARSER", "STRING"),
        _ours("REASONING_PARSER", "STRING"),
        _ours("GUIDE_TYPE", "STRING"),
        _ours("GUIDE", "STRING"),
    ),
    outputs=(
        Tensor("INPUT_ID", "INT32", (-1,)),
        Tensor("REQUEST_INPUT_LEN", "INT32"),
        Tensor("DECODER_INPUT_ID", "INT32", (-1,)),
        Tensor("REQUEST_DECODER_INPUT_LEN", "INT32"),
        Tensor("BAD_WORDS_IDS", "INT32", (2, -1)),
        Tensor("STOP_WORDS_IDS", "INT32", (2, -1)),
        Tensor("EMBEDDING_BIAS", "FP32", (-1,)),
        Tensor("REQUEST_OUTPUT_LEN", "INT32", (-1,)),
        Tensor("OUT_END_ID", "INT32"),
        Tensor("OUT_PAD_ID", "INT32"),
        Tensor("OUT_PROMPT_TABLE_EXTRA_IDS", "UINT64", (-1,)),
        _ours("OUT_EXCLUDE_INPUT_IN_OUTPUT", "BOOL"),
        _ours("TEXT_OPTIONS", "STRING"),  # what postprocessing is to do; see text/text_options.py
        _ours("REPORT", "STRING"),  # what was done to the prompt; see text/report.py
    ),
)

# Outputs of the engine that the ensemble hands on under the same name.
_ENGINE_OUTPUTS = (
    Tensor("cum_log_probs", "FP32", (-1,)),
    Tensor("output_log_probs", "FP32", (-1, -1)),
    Tensor("context_logits", "FP32", (-1, -1)),
    Tensor("generation_logits", "FP32", (-1, -1, -1)),
    Tensor("batch_index", "INT32"),
    Tensor("sequence_index", "INT32"),
    Tensor("kv_cache_alloc_new_blocks", "INT32"),
    Tensor("kv_cache_reused_blocks", "INT32"),
    Tensor("kv_cache_alloc_total_blocks", "INT32"),
    Tensor("arrival_time_ns", "INT64"),
    Tensor("first_scheduled_time_ns", "INT64"),
    Tensor("first_token_time_ns", "INT64"),
    Tensor("last_token_time_ns", "INT64"),
    Tensor("acceptance_rate", "FP32"),
    Tensor("total_accepted_draft_tokens", "INT32"),
    Tensor("total_draft_tokens", "INT32"),
    Tensor("num_input_tokens", "INT32"),
    Tensor("num_output_tokens", "INT32"),
    _ours("num_cached_tokens", "INT32"),  # of the prompt, found in the prefix cache
    _ours("top_ids", "INT32", (-1, -1)),  # [tokens, top_logprobs]
    _ours("top_log_probs", "FP32", (-1, -1)),
)

# Inputs that engine and ensemble share under the same name.
_SHARED_INPUTS = (
    Tensor("end_id", "INT32"),
    Tensor("pad_id", "INT32"),
    Tensor("num_return_sequences", "INT32"),
    Tensor("beam_width", "INT32"),
    Tensor("temperature", "FP32"),
    Tensor("repetition_penalty", "FP32"),
    Tensor("presence_penalty", "FP32"),
    Tensor("frequency_penalty", "FP32"),
    Tensor("min_tokens", "INT32"),
    Tensor("seed", "UINT64"),
    Tensor("return_log_probs", "BOOL"),
    Tensor("return_context_logits", "BOOL"),
    Tensor("return_generation_logits", "BOOL"),
    Tensor("return_perf_metrics", "BOOL"),
    Tensor("return_num_input_tokens", "BOOL"),
    Tensor("return_num_output_tokens", "BOOL"),
    Tensor("exclude_input_in_output", "BOOL"),
    Tensor("prompt_embedding_table", "FP16", (-1, -1)),
    Tensor("prompt_vocab_size", "INT32"),
    Tensor("lora_task_id", "UINT64"),
    Tensor("lora_weights", "FP16", (-1, -1), ragged=True),
    Tensor("lora_config", "INT32", (-1, 3), ragged=True),
    Tensor("guided_decoding_guide_type", "STRING", ragged=True),
    Tensor("guided_decoding_guide", "STRING", ragged=True),
    _ours("min_length", "INT32"),  # the name of min_tokens before TensorRT-LLM 0.20
    _ours("random_seed", "UINT64"),  # the name of seed before TensorRT-LLM 0.20
    _ours("top_logprobs", "INT32"),
    _ours("lora_name", "STRING"),
    _ours("cache_salt", "STRING"),
    _ours("timeout_ms", "INT32"),
    _ours("priority", "INT32"),
)

ENGINE = Model(
    "tensorrt_llm",
    decoupled=True,
    inputs=(
        Tensor("input_ids", "INT32", (-1,), optional=False, ragged=True),  # optional upstream for encoder features
        Tensor("input_lengths", "INT32", optional=False),
        Tensor("request_output_len", "INT32", optional=False),
        Tensor("decoder_input_ids", "INT32", (-1,), ragged=True),
        Tensor("decoder_input_lengths", "INT32"),
        Tensor("stop_words_list", "INT32", (2, -1), ragged=True),
        Tensor("bad_words_list", "INT32", (2, -1), ragged=True),
        Tensor("embedding_bias", "FP32", (-1,), ragged=True),
        Tensor("runtime_top_k", "INT32"),
        Tensor("runtime_top_p", "FP32"),
        Tensor("len_penalty", "FP32"),
        Tensor("prompt_table_extra_ids", "UINT64", (-1,), ragged=True),
        Tensor("streaming", "BOOL"),
        Tensor("stop", "BOOL"),
        Tensor("stop_texts", "STRING", (-1,), ragged=True, ours=True),  # stop words as the user typed them
        _ours("text_options", "STRING"),
        _ours("report", "STRING"),
        *_SHARED_INPUTS,
    ),
    outputs=(
        Tensor("output_ids", "INT32", (-1, -1)),
        Tensor("sequence_length", "INT32", (-1,)),
        _ours("context_ids", "INT32", (-1,)),  # the ids before output_ids; see text/detokenizer.py
        _ours("trim_bytes", "INT32"),  # of a stop word that began inside the last id; see text/stop_words.py
        _ours("finish_reason", "STRING"),
        _ours("text_options", "STRING"),  # handed on to postprocessing
        _ours("report", "STRING"),
        *_ENGINE_OUTPUTS,
    ),
)

POSTPROCESSING = Model(
    "postprocessing",
    inputs=(
        Tensor("TOKENS_BATCH", "INT32", (-1, -1), optional=False, ragged=True),
        Tensor("SEQUENCE_LENGTH", "INT32", (-1,), optional=False, ragged=True),
        Tensor("CONTEXT_IDS", "INT32", (-1,), ragged=True, ours=True),
        _ours("FINISH_REASON", "STRING"),
        _ours("TRIM_BYTES", "INT32"),
        _ours("TEXT_OPTIONS", "STRING"),
        _ours("REPORT", "STRING"),
    ),
    outputs=(
        Tensor("OUTPUT", "STRING", (-1,)),
        _ours("OUT_FINISH_REASON", "STRING"),
        _ours("TOKEN_TEXTS", "STRING", (-1,)),  # exact bytes of each id of output_log_probs
        _ours("REASONING", "STRING"),
        _ours("TOOL_CALLS", "STRING"),  # JSON list, as in the OpenAI API
        _ours("OUT_REPORT", "STRING"),  # JSON object
    ),
)

_PREPROCESSING_STEP = Step(
    PREPROCESSING.name,
    input_map={
        "QUERY": "text_input",
        "DECODER_QUERY": "decoder_text_input",
        "REQUEST_OUTPUT_LEN": "max_tokens",
        "BAD_WORDS_DICT": "bad_words",
        "STOP_WORDS_DICT": "stop_words",
        "EMBEDDING_BIAS_WORDS": "embedding_bias_words",
        "EMBEDDING_BIAS_WEIGHTS": "embedding_bias_weights",
        "END_ID": "end_id",
        "PAD_ID": "pad_id",
        "PROMPT_TABLE_EXTRA_ID": "prompt_table_extra_id",
        "MESSAGES": "messages",
        "TOOLS": "tools",
        "CHAT_TEMPLATE_KWARGS": "chat_template_kwargs",
        "EXCLUDE_INPUT_IN_OUTPUT": "exclude_input_in_output",
        "TRUNCATE": "truncate",
        "PROMPT_TEMPLATE": "prompt_template",
        "PROMPT_VARIABLES": "prompt_variables",
        "SKIP_SPECIAL_TOKENS": "skip_special_tokens",
        "TOOL_PARSER": "tool_parser",
        "REASONING_PARSER": "reasoning_parser",
        "GUIDE_TYPE": "guided_decoding_guide_type",
        "GUIDE": "guided_decoding_guide",
    },
    output_map={
        "REQUEST_INPUT_LEN": "_REQUEST_INPUT_LEN",
        "INPUT_ID": "_INPUT_ID",
        "REQUEST_DECODER_INPUT_LEN": "_REQUEST_DECODER_INPUT_LEN",
        "DECODER_INPUT_ID": "_DECODER_INPUT_ID",
        "REQUEST_OUTPUT_LEN": "_REQUEST_OUTPUT_LEN",
        "STOP_WORDS_IDS": "_STOP_WORDS_IDS",
        "BAD_WORDS_IDS": "_BAD_WORDS_IDS",
        "EMBEDDING_BIAS": "_EMBEDDING_BIAS",
        "OUT_END_ID": "_PREPROCESSOR_END_ID",
        "OUT_PAD_ID": "_PREPROCESSOR_PAD_ID",
        "OUT_PROMPT_TABLE_EXTRA_IDS": "_OUT_PROMPT_TABLE_EXTRA_IDS",
        "OUT_EXCLUDE_INPUT_IN_OUTPUT": "_EXCLUDE_INPUT_IN_OUTPUT",
        "TEXT_OPTIONS": "_PROMPT_TEXT_OPTIONS",
        "REPORT": "_PROMPT_REPORT",
    },
)

# What preprocessing made or resolved reaches the engine under internal names, the rest as the client sent it.
_ENGINE_STEP = Step(
    ENGINE.name,
    input_map={
        "input_ids": "_INPUT_ID",
        "input_lengths": "_REQUEST_INPUT_LEN",
        "request_output_len": "_REQUEST_OUTPUT_LEN",
        "decoder_input_ids": "_DECODER_INPUT_ID",
        "decoder_input_lengths": "_REQUEST_DECODER_INPUT_LEN",
        "stop_words_list": "_STOP_WORDS_IDS",
        "bad_words_list": "_BAD_WORDS_IDS",
        "embedding_bias": "_EMBEDDING_BIAS",
        "runtime_top_k": "top_k",
        "runtime_top_p": "top_p",
        "len_penalty": "length_penalty",
        "prompt_table_extra_ids": "_OUT_PROMPT_TABLE_EXTRA_IDS",
        "streaming": "stream",
        "stop_texts": "stop_words",
        "text_options": "_PROMPT_TEXT_OPTIONS",
        "report": "_PROMPT_REPORT",
        **{tensor.name: tensor.name for tensor in _SHARED_INPUTS},
        "end_id": "_PREPROCESSOR_END_ID",
        "pad_id": "_PREPROCESSOR_PAD_ID",
        "exclude_input_in_output": "_EXCLUDE_INPUT_IN_OUTPUT",
    },
    output_map={
        "output_ids": "_TOKENS_BATCH",
        "sequence_length": "_SEQUENCE_LENGTH",
        "context_ids": "_CONTEXT_IDS",
        "trim_bytes": "_TRIM_BYTES",
        "finish_reason": "_FINISH_REASON",
        "text_options": "_TEXT_OPTIONS",
        "report": "_REPORT",
        **{tensor.name: tensor.name for tensor in _ENGINE_OUTPUTS},
    },
)

_POSTPROCESSING_STEP = Step(
    POSTPROCESSING.name,
    input_map={
        "TOKENS_BATCH": "_TOKENS_BATCH",
        "SEQUENCE_LENGTH": "_SEQUENCE_LENGTH",
        "CONTEXT_IDS": "_CONTEXT_IDS",
        "FINISH_REASON": "_FINISH_REASON",
        "TRIM_BYTES": "_TRIM_BYTES",
        "TEXT_OPTIONS": "_TEXT_OPTIONS",
        "REPORT": "_REPORT",
    },
    output_map={
        "OUTPUT": "text_output",
        "OUT_FINISH_REASON": "finish_reason",
        "TOKEN_TEXTS": "token_texts",
        "REASONING": "reasoning_output",
        "TOOL_CALLS": "tool_calls",
        "OUT_REPORT": "report",
    },
)

ENSEMBLE = Model(
    "ensemble",
    inputs=(
        Tensor("text_input", "STRING"),  # required upstream; here it or messages
        Tensor("decoder_text_input", "STRING"),
        # Required, but not declared so: Triton 2.51 answers an ensemble request without a required input with nothing
        # at all. Preprocessing refuses it by name.
        Tensor("max_tokens", "INT32"),
        Tensor("bad_words", "STRING", (-1,)),
        Tensor("stop_words", "STRING", (-1,)),
        Tensor("top_k", "INT32"),
        Tensor("top_p", "FP32"),
        Tensor("length_penalty", "FP32"),
        Tensor("stream", "BOOL"),
        Tensor("prompt_table_extra_id", "UINT64"),
        Tensor("embedding_bias_words", "STRING", (-1,)),
        Tensor("embedding_bias_weights", "FP32", (-1,)),
        *_SHARED_INPUTS,
        _ours("messages", "STRING"),
        _ours("tools", "STRING"),
        _ours("chat_template_kwargs", "STRING"),
        _ours("truncate", "STRING"),
        _ours("prompt_template", "STRING"),
        _ours("prompt_variables", "STRING"),
        _ours("skip_special_tokens", "BOOL"),
        _ours("tool_parser", "STRING"),
        _ours("reasoning_parser", "STRING"),
    ),
    outputs=(
        Tensor("text_output", "STRING", (-1,)),
        *_ENGINE_OUTPUTS,
        _ours("finish_reason", "STRING"),
        _ours("token_texts", "STRING", (-1,)),
        _ours("reasoning_output", "STRING"),
        _ours("tool_calls", "STRING"),
        _ours("report", "STRING"),
    ),
    steps=(_PREPROCESSING_STEP, _ENGINE_STEP, _POSTPROCESSING_STEP),
)

MODELS: tuple[Model, ...] = (PREPROCESSING, ENGINE, POSTPROCESSING, ENSEMBLE)

# In a repository of its own, served only where a deployment asks for it.
EMBEDDING = Model(
    "embedding",
    inputs=(Tensor("text", "STRING", optional=False, ours=True),),
    outputs=(
        _ours("embedding", "FP32", (-1,)),  # of length 1; as many values as the engine has dimensions
        _ours("num_tokens", "INT32"),  # of the text, as far as it was read
    ),
)
MAX_EMBEDDING_TEXTS = 8  # in one request: its max_batch_size
