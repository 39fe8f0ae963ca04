"""LlamaIndex through its own Triton integration, unchanged: the ensemble's tensors are NVIDIA's.

python client/examples/llama_index_triton.py "The capital of France is" --url 127.0.0.1:8001

pip install llama-index-llms-nvidia-triton
"""

import argparse

from llama_index.llms.nvidia_triton import NvidiaTriton


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("prompt", nargs="?", default="The capital of France is")
    parser.add_argument("--url", default="127.0.0.1:8001")
    arguments = parser.parse_args()

    # It asks for greedy answers by top_k=1 and top_p=0.
    llm = NvidiaTriton(server_url=arguments.url, model_name="ensemble", tokens=32)
    print(llm.complete(arguments.prompt).text)


if __name__ == "__main__":
    main()
