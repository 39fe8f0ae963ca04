"""Two ways to end a request before its end: leave its stream, or name its id from anywhere.

python client/examples/cancel.py --url 127.0.0.1:8001

The server stops generating at once and the place in the batch is free.
"""

import argparse

from trident_client import Client

STORY = "Once upon a time"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", default="127.0.0.1:8001")
    arguments = parser.parse_args()

    with Client(arguments.url) as client:
        with client.stream(STORY, max_tokens=400) as stream:
            print(f"first words: {next(stream).text!r}")
        print(f"left early: {stream.state}")

        with client.stream(STORY, max_tokens=400, request_id="story-1") as stream:
            next(stream)
            client.cancel("story-1")  # another thread, process or machine could do it
            *_, last = stream  # what had come by then is delivered
        print(f"by its id: {last.finish_reason}")


if __name__ == "__main__":
    main()
