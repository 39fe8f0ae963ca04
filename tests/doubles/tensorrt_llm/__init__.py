"""A double of TensorRT-LLM's LLM API, for tests of the adapter where TensorRT-LLM cannot be installed.

It proves the adapter, and nothing of TensorRT-LLM: names, types and defaults come from the facts in `llm_args.json` and
`llm_api.json`, behaviour from reading its sources; the ids are arithmetic. Where the real package is, it wins.
"""

from __future__ import annotations

__version__ = "1.2.1"

from tensorrt_llm.llmapi import LLM, GuidedDecodingParams, SamplingParams

__all__ = ["LLM", "GuidedDecodingParams", "SamplingParams"]
