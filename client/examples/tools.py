"""A tool call: the model asks for a function, we call it, the model answers with what it returned.

python client/examples/tools.py "What is the weather in Paris?" --url 127.0.0.1:8001

Needs a checkpoint whose chat template knows tools (Qwen, Llama 3, Mistral); the embedded SmolLM2 is refused by name.
"""

import argparse
import json

from trident_client import Client

WEATHER = {
    "name": "get_weather",
    "description": "The weather in a city, now",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("question", nargs="?", default="What is the weather in Paris?")
    parser.add_argument("--url", default="127.0.0.1:8001")
    arguments = parser.parse_args()

    messages: list[dict] = [{"role": "user", "content": arguments.question}]
    with Client(arguments.url) as client:
        answer = client.chat(messages, tools=[{"type": "function", "function": WEATHER}], max_tokens=128)
        messages.append({"role": "assistant", "content": answer.text, "tool_calls": list(answer.tool_calls)})
        for call in answer.tool_calls:  # as in the OpenAI API, each whole
            city = json.loads(call["function"]["arguments"])["city"]
            print(f"{call['function']['name']}({city!r})")
            messages.append({"role": "tool", "tool_call_id": call["id"], "content": f"Sunny, 21 degrees in {city}."})
        print(client.chat(messages, max_tokens=64).text)


if __name__ == "__main__":
    main()
