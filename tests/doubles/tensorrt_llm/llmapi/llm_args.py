"""Where the classes of an engine's arguments live."""

from tensorrt_llm.args import TorchLlmArgs, TrtLlmArgs

__all__ = ["TorchLlmArgs", "TrtLlmArgs"]
