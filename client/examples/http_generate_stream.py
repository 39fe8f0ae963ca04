"""A completion over HTTP with plain requests: one POST, and events as they come. Nothing of Trident is needed.

python client/examples/http_generate_stream.py "The capital of France is" --url 127.0.0.1:8000
"""

import argparse
import json

import requests


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("prompt", nargs="?", default="The capital of France is")
    parser.add_argument("--url", default="127.0.0.1:8000")
    arguments = parser.parse_args()

    url = f"http://{arguments.url}/v2/models/ensemble/generate_stream"
    body = {"text_input": arguments.prompt, "max_tokens": 32, "stream": True, "exclude_input_in_output": True}
    with requests.post(url, json=body, stream=True, timeout=60) as response:
        response.raise_for_status()
        for line in response.iter_lines():
            if not line.startswith(b"data:"):  # events are separated by empty lines
                continue
            event = json.loads(line.removeprefix(b"data:"))
            if "error" in event:  # what fails after the first event fails under status 200
                raise SystemExit(event["error"])
            print(event["text_output"], end="", flush=True)
    print(f"\n[{event['finish_reason']}]")


if __name__ == "__main__":
    main()
