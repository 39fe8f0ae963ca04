"""A small recipe of kind `tensorrt_llm`, for tests that change one thing of it."""

from typing import Any

from trident_build.recipe import Recipe

_RECIPE: dict[str, Any] = {
    "name": "tiny-trt",
    "kind": "tensorrt_llm",
    "precision": "fp8",
    "source": {"type": "hf", "repo": "org/tiny", "revision": "main", "model": "Tiny", "licence": "Apache-2.0"},
    "quantization": {"kv_cache": "fp8"},
    "parallelism": {"tp": 2},
    "limits": {
        "max_input_tokens": 1024,
        "max_output_tokens": 512,
        "max_seq_tokens": 1536,
        "max_num_seqs": 16,
        "max_num_batched_tokens": 2048,
        "max_queued_requests": 64,
        "kv_cache_fraction": 0.9,
    },
}


def recipe(**changes: Any) -> Recipe:
    """The recipe with parts replaced; those of a dictionary are merged into its own."""
    merged = {
        **_RECIPE,
        **{
            key: {**_RECIPE[key], **value} if isinstance(_RECIPE.get(key), dict) else value
            for key, value in changes.items()
        },
    }
    return Recipe.model_validate(merged)
