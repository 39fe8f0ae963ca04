"""One question to many at once in asyncio, over one server or several: each answer is told when it is there.

python client/examples/fan_out.py "What is time?" --url 127.0.0.1:8001 --url 10.0.0.2:8001
"""

import argparse
import asyncio

from trident_client import AsyncClient

ROLES = ("a physicist", "a poet", "a lawyer", "a child", "a chef", "a historian")


async def ask(client: AsyncClient, role: str, question: str) -> tuple[str, str]:
    messages = [{"role": "system", "content": f"You are {role}. Be brief."}, {"role": "user", "content": question}]
    answer = await client.chat(messages, max_tokens=32, timeout_s=60)
    return role, answer.text


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("question", nargs="?", default="What is time?")
    parser.add_argument("--url", action="append")
    arguments = parser.parse_args()

    async with AsyncClient(arguments.url or ["127.0.0.1:8001"]) as client:
        asked = [ask(client, role, arguments.question) for role in ROLES]
        for answered in asyncio.as_completed(asked):
            role, text = await answered
            print(f"{role}: {text}")


if __name__ == "__main__":
    asyncio.run(main())
