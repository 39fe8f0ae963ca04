"""A conversation: the client keeps the messages, the server renders them through the checkpoint's own template.

python client/examples/chat.py "What is the capital of France?" "What river runs through it?" --url 127.0.0.1:8001
"""

import argparse

from trident_client import Client


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("questions", nargs="*", default=["What is the capital of France?", "What is it famous for?"])
    parser.add_argument("--url", default="127.0.0.1:8001")
    arguments = parser.parse_args()

    messages = [{"role": "system", "content": "Answer in one short sentence."}]
    with Client(arguments.url) as client:
        for question in arguments.questions:
            messages.append({"role": "user", "content": question})
            answer = client.chat(messages, max_tokens=48)
            messages.append({"role": "assistant", "content": answer.text})
            print(f"> {question}\n{answer.text}")
            # The conversation so far is in the engine's cache when the next question comes.
            print(f"[{answer.num_input_tokens} tokens in, {answer.num_cached_tokens} of them cached]\n")


if __name__ == "__main__":
    main()
