"""How the repositories that the client has to work with describe themselves, as Triton's model configuration.

Names, dtypes and dims of NVIDIA's `inflight_batcher_llm` (TensorRT-LLM 0.5 and 1.x) and `llmapi`, shortened to what
tells them apart.
"""


def _tensors(dims, **dtypes):
    return [{"name": name, "data_type": f"TYPE_{dtype}", "dims": dims} for name, dtype in dtypes.items()]


def _optional(dims, **dtypes):
    return [{**tensor, "optional": True} for tensor in _tensors(dims, **dtypes)]


def _ensemble(name, inputs, outputs, *, is_decoupled=True):
    steps = [
        {"model_name": model, "model_version": -1} for model in ("preprocessing", "tensorrt_llm", "postprocessing")
    ]
    return {
        "name": name,
        "platform": "ensemble",
        "max_batch_size": 8,
        "input": inputs,
        "output": outputs,
        "ensemble_scheduling": {"step": steps},
        "model_transaction_policy": {"decoupled": is_decoupled},
    }


NVIDIA = _ensemble(
    "ensemble",
    [
        *_tensors([1], text_input="STRING", max_tokens="INT32"),
        *_optional([-1], bad_words="STRING", stop_words="STRING"),
        *_optional(
            [1], seed="UINT64", min_tokens="INT32", top_k="INT32", top_p="FP32", temperature="FP32", stream="BOOL",
            exclude_input_in_output="BOOL", return_perf_metrics="BOOL",
        ),
    ],
    _tensors([-1], text_output="STRING", cum_log_probs="FP32", sequence_index="INT32"),
)  # fmt: skip

NVIDIA_OF_2023 = _ensemble(
    "ensemble",
    [
        *_tensors([1], text_input="STRING", max_tokens="UINT32"),
        *_tensors([-1], bad_words="STRING", stop_words="STRING"),
        *_optional([1], random_seed="UINT64", min_length="UINT32", top_k="UINT32", stream="BOOL"),
    ],
    _tensors([-1], text_output="STRING"),
)

NOT_DECOUPLED = {**NVIDIA, "model_transaction_policy": {"decoupled": False}}

LLMAPI = {
    "name": "tensorrt_llm",
    "backend": "python",
    "input": [
        *_tensors([-1], text_input="STRING"),
        *_optional(
            [1], streaming="BOOL", sampling_param_max_tokens="INT32", sampling_param_temperature="FP32",
            sampling_param_seed="UINT64", sampling_param_exclude_input_from_output="BOOL",
            sampling_param_return_perf_metrics="BOOL", return_finish_reason="BOOL", stop="BOOL",
        ),
        *_optional([-1], sampling_param_stop="STRING"),
    ],
    "output": _tensors([-1], text_output="STRING", finish_reason="STRING", cumulative_logprob="FP32"),
    "model_transaction_policy": {"decoupled": True},
}  # fmt: skip
