"""OpenAI's SDK through the gateway: only the address is another one.

python client/examples/openai_sdk.py "What is the capital of France?" --url http://127.0.0.1:8080 --model smollm2

The key is taken from OPENAI_API_KEY; a gateway that asks for none takes any.
"""

import argparse
import os

from openai import OpenAI


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("question", nargs="?", default="What is the capital of France?")
    parser.add_argument("--url", default="http://127.0.0.1:8080")
    parser.add_argument("--model", default="smollm2")
    arguments = parser.parse_args()

    client = OpenAI(base_url=f"{arguments.url}/v1", api_key=os.environ.get("OPENAI_API_KEY", "none"))
    chunks = client.chat.completions.create(
        model=arguments.model,
        messages=[{"role": "user", "content": arguments.question}],
        max_completion_tokens=48,
        temperature=0,
        stream=True,
        stream_options={"include_usage": True},
    )
    for chunk in chunks:
        for choice in chunk.choices:
            print(choice.delta.content or "", end="", flush=True)
        if chunk.usage:  # the last one
            print(f"\n[{chunk.usage.prompt_tokens} tokens in, {chunk.usage.completion_tokens} out]")


if __name__ == "__main__":
    main()
