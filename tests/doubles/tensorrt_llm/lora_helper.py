"""Where LoraConfig lives since 1.1."""

from tensorrt_llm.args import LoraConfig

__all__ = ["LoraConfig"]
