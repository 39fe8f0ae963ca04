"""What tenants ask of the stored objects' endpoints, in short."""

import json

from tests.unit.gateway.loop import until
from tests.unit.gateway.scripted_upstream import words

HELLO = words("Hel", "lo")


def batch_lines(number, **body):
    body = {"model": "chat", "max_tokens": 8, "messages": [{"role": "user", "content": "hi"}], **body}
    lines = [
        {"custom_id": f"c{n}", "method": "POST", "url": "/v1/chat/completions", "body": body} for n in range(number)
    ]
    return "".join(json.dumps(line) + "\n" for line in lines)


async def upload(client, content="text", purpose="batch", name="in.jsonl", **fields):
    return await client.post("/v1/files", data={"purpose": purpose, **fields}, files={"file": (name, content)})


async def ask(client, **body):
    return await client.post("/v1/responses", json={"model": "chat", "input": "hi", "max_output_tokens": 8, **body})


def batch_of(file_id, **changes):
    values = {"input_file_id": file_id, "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    return {**values, **changes}


async def make_batch(client, number=2):
    file_id = (await upload(client, batch_lines(number))).json()["id"]
    return (await client.post("/v1/batches", json=batch_of(file_id))).json()


def events_in(text):
    return [json.loads(line.removeprefix("data: ")) for line in text.splitlines() if line.startswith("data: ")]


async def until_batch(client, batch_id, status="completed"):
    """The batch, once it has this status."""

    async def shown():
        batch = (await client.get(f"/v1/batches/{batch_id}")).json()
        return batch if batch["status"] == status else None

    return await until(shown)
