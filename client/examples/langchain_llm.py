"""LangChain: a model class in the two methods that LangChain asks for, in a chain that streams.

python client/examples/langchain_llm.py France --url 127.0.0.1:8001

pip install langchain-core; NVIDIA's langchain-nvidia-trt has not worked since 2024, docs/examples.md says why.
"""

import argparse
from collections.abc import Iterator
from typing import Any

from langchain_core.language_models import LLM
from langchain_core.outputs import GenerationChunk
from langchain_core.prompts import PromptTemplate

from trident_client import Client


class TridentLLM(LLM):
    client: Client
    _llm_type = "trident"

    def _call(self, prompt: str, stop: Any = None, run_manager: Any = None, **sampling: Any) -> str:
        return self.client.generate(prompt, stop_words=stop or (), **sampling).text

    def _stream(self, prompt: str, stop: Any = None, run_manager: Any = None, **sampling: Any) -> Iterator:
        with self.client.stream(prompt, stop_words=stop or (), **sampling) as stream:
            yield from (GenerationChunk(text=delta.text) for delta in stream)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("country", nargs="?", default="France")
    parser.add_argument("--url", default="127.0.0.1:8001")
    arguments = parser.parse_args()
    with Client(arguments.url) as client:
        chain = PromptTemplate.from_template("The capital of {country} is") | TridentLLM(client=client)
        for text in chain.stream({"country": arguments.country}, max_tokens=16, stop=["\n"]):
            print(text, end="", flush=True)
