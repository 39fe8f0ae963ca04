"""Where the LLM of TensorRT engines lives since 1.0."""

from tensorrt_llm.llm import EngineLLM

LLM = EngineLLM

__all__ = ["LLM"]
