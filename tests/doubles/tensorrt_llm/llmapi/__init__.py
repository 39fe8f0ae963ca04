"""The public names of the LLM API, as far as the adapter uses them."""

from tensorrt_llm.args import (
    CudaGraphConfig,
    DraftTargetDecodingConfig,
    KvCacheConfig,
    NGramDecodingConfig,
    PeftCacheConfig,
    SchedulerConfig,
)
from tensorrt_llm.executor import RequestError
from tensorrt_llm.llm import TorchLLM
from tensorrt_llm.sampling import GuidedDecodingParams, SamplingParams

LLM = TorchLLM

__all__ = [
    "LLM",
    "CudaGraphConfig",
    "DraftTargetDecodingConfig",
    "GuidedDecodingParams",
    "KvCacheConfig",
    "NGramDecodingConfig",
    "PeftCacheConfig",
    "RequestError",
    "SamplingParams",
    "SchedulerConfig",
]
