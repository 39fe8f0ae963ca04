"""A completion as a stream over gRPC: text as it comes, and at the end what it took.

python client/examples/stream_grpc.py "The capital of France is" --url 127.0.0.1:8001
"""

import argparse

from trident_client import Client


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("prompt", nargs="?", default="The capital of France is")
    parser.add_argument("--url", default="127.0.0.1:8001")
    arguments = parser.parse_args()

    # Leaving either `with` early cancels the request on the server.
    with Client(arguments.url) as client, client.stream(arguments.prompt, max_tokens=32) as stream:
        for delta in stream:
            print(delta.text, end="", flush=True)

    # The last delta says how it ended.
    print(f"\n[{delta.finish_reason}: {delta.num_input_tokens} tokens in, {delta.num_output_tokens} out]")


if __name__ == "__main__":
    main()
