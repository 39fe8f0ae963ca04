"""Stored responses, files and batches by OpenAI's own client, before a real Triton; a gateway killed in mid-batch."""

from __future__ import annotations

import json
import time

import httpx
import openai
import pytest
import schemathesis
from schemathesis import GenerationMode

from tests.gateway.conftest import deployment_of
from tests.gateway.postgres import Postgres
from tests.gateway.running_gateway import running_gateway
from tests.gateway.test_openapi import drive

MODEL = "simulated"
OPERATIONS = [
    ("POST", "/v1/responses"),
    ("POST", "/v1/responses/input_tokens"),
    ("GET", "/v1/responses/{response_id}"),
    ("GET", "/v1/responses/{response_id}/input_items"),
    ("POST", "/v1/responses/{response_id}/cancel"),
    ("POST", "/v1/files"),
    ("GET", "/v1/files"),
    ("GET", "/v1/files/{file_id}/content"),
    ("POST", "/v1/batches"),
    ("GET", "/v1/batches"),
    ("POST", "/v1/batches/{batch_id}/cancel"),
]


def client_of(url):
    # The machine's proxies do not know the gateway.
    http_client = openai.DefaultHttpxClient(trust_env=False)
    return openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, http_client=http_client)


@pytest.fixture(scope="module")
def client(gateway):
    with client_of(gateway.url) as client:
        yield client


def batch_file(number, **body):
    body = {"model": MODEL, "max_tokens": 4, "messages": [{"role": "user", "content": "hi"}], **body}
    line = {"method": "POST", "url": "/v1/chat/completions", "body": body}
    return "".join(json.dumps({"custom_id": f"c{n}", **line}) + "\n" for n in range(number)).encode()


def make_batch(client, number, **body):
    file = client.files.create(file=("in.jsonl", batch_file(number, **body)), purpose="batch")
    return client.batches.create(
        input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h", metadata={"job": "night"}
    )


def wait_for(client, batch_id, condition, timeout_s=120.0):
    deadline = time.monotonic() + timeout_s
    while not condition(batch := client.batches.retrieve(batch_id)):
        assert time.monotonic() < deadline, batch
        time.sleep(0.05)
    return batch


def test_a_response_is_created_read_and_deleted(client):
    response = client.responses.create(model=MODEL, input="hi", max_output_tokens=4, metadata={"a": "b"})
    assert (response.status, response.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    assert response.usage.output_tokens == 4
    assert response.output_text
    assert client.responses.retrieve(response.id) == response
    assert [item.content[0].text for item in client.responses.input_items.list(response.id)] == ["hi"]
    client.responses.delete(response.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(response.id)


def test_a_streamed_response_is_what_openais_reader_makes_of_its_events(client):
    with client.responses.stream(model=MODEL, input="hi", max_output_tokens=8) as stream:
        events = list(stream)
        final = stream.get_final_response() if events[-1].type == "response.completed" else events[-1].response
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert (events[0].type, events[-1].type) == ("response.created", "response.incomplete")
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert text == final.output_text == client.responses.retrieve(final.id).output_text


def test_tokens_come_with_their_probabilities(client):
    """The real engine tells those of its own tokens, and refuses the likeliest others by the field's name."""
    asked = {"model": "smollm2", "input": "hi", "max_output_tokens": 3, "include": ["message.output_text.logprobs"]}
    response = client.responses.create(**asked)
    tokens = response.output[0].content[0].logprobs
    assert bytes(byte for token in tokens for byte in token.bytes).decode() == response.output_text
    assert all(token.logprob <= 0 for token in tokens)
    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.create(**asked, top_logprobs=2)
    assert refused.value.param == "top_logprobs"


def test_a_response_goes_on_with_the_one_before(client):
    """It counts the words of both."""
    first = client.responses.create(model=MODEL, input="hi", max_output_tokens=4)
    alone = client.responses.create(model=MODEL, input="go on", max_output_tokens=4, store=False)
    second = client.responses.create(model=MODEL, input="go on", max_output_tokens=4, previous_response_id=first.id)
    assert second.usage.input_tokens > alone.usage.input_tokens
    with pytest.raises(openai.NotFoundError) as refused:
        client.responses.create(model=MODEL, input="x", previous_response_id=alone.id)
    assert (refused.value.param, refused.value.code) == ("previous_response_id", "previous_response_not_found")


def test_input_tokens_are_counted_as_the_model_reads_them(client):
    asked = {"model": MODEL, "input": "How many?", "instructions": "Be brief."}
    counted = client.responses.input_tokens.count(**asked)
    assert counted.input_tokens == client.responses.create(**asked, max_output_tokens=1).usage.input_tokens


def test_a_stream_is_cancelled_by_another_request(client):
    """Its own reader gets the end, and what came is kept."""
    with client.responses.create(model=MODEL, input="hi", max_output_tokens=1000, stream=True) as stream:
        events = iter(stream)
        response_id = next(events).response.id
        next(event for event in events if event.type == "response.output_text.delta")
        cancelled = client.responses.cancel(response_id)
        last = list(events)[-1]
    assert (last.type, last.response.status) == ("response.incomplete", "cancelled")
    assert cancelled.status == "cancelled"
    assert cancelled.output_text == last.response.output_text


def test_a_stream_whose_reader_left_is_stored_as_cancelled(client):
    with client.responses.create(model=MODEL, input="hi", max_output_tokens=1000, stream=True) as stream:
        response_id = next(iter(stream)).response.id
    deadline = time.monotonic() + 10
    while (found := client.responses.retrieve(response_id)).status == "in_progress":
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert found.status == "cancelled"


def test_files_are_uploaded_listed_read_and_deleted(client):
    content = b"\x00\xffline\n" * 100_000
    file = client.files.create(
        file=("data.bin", content), purpose="user_data", expires_after={"anchor": "created_at", "seconds": 3600}
    )
    assert (file.bytes, file.filename, file.expires_at) == (len(content), "data.bin", file.created_at + 3600)
    assert client.files.retrieve(file.id) == file
    assert file.id in [each.id for each in client.files.list(purpose="user_data", limit=1)]
    assert client.files.content(file.id).read() == content
    assert client.files.delete(file.id).deleted
    with pytest.raises(openai.NotFoundError):
        client.files.content(file.id)


def test_a_batch_runs_to_its_end(client):
    batch = make_batch(client, 6)
    assert batch.id in [each.id for each in client.batches.list(limit=1)]
    done = wait_for(client, batch.id, lambda each: each.status == "completed")
    assert (done.request_counts.total, done.request_counts.completed) == (6, 6)
    lines = [json.loads(line) for line in client.files.content(done.output_file_id).text.splitlines()]
    assert [line["custom_id"] for line in lines] == [f"c{n}" for n in range(6)]
    assert all(line["response"]["body"]["usage"]["completion_tokens"] == 4 for line in lines)
    assert done.error_file_id is None
    assert done.metadata == {"job": "night"}


def test_a_cancelled_batch_ends_soon_and_keeps_what_it_has(client):
    batch = make_batch(client, 200, max_tokens=100)
    wait_for(client, batch.id, lambda each: each.request_counts.completed > 0)
    assert client.batches.cancel(batch.id).status == "cancelling"
    done = wait_for(client, batch.id, lambda each: each.status == "cancelled")
    answers = client.files.content(done.output_file_id).text.splitlines()
    rest = client.files.content(done.error_file_id).text.splitlines()
    assert len(answers) == done.request_counts.completed
    assert len(answers) + len(rest) == 200


def test_a_gateway_that_is_killed_in_mid_batch_leaves_it_to_the_next(simulated, tmp_path):
    """SIGKILL; the next one on the same data completes it: every line once, in order."""
    values = {
        "server": {"data": str(tmp_path / "data")},
        "deployments": {"replay": deployment_of(simulated)},
        "models": {MODEL: {"deployments": {"replay": 1}}},
        "storage": {"batch_lease_s": 1.0, "batch_concurrency": 4},
    }
    with running_gateway(tmp_path, values) as first, client_of(first.url) as client:
        batch = make_batch(client, 40, max_tokens=40)
        wait_for(client, batch.id, lambda each: each.request_counts.completed >= 4)
        first.process.kill()
        first.process.wait()
    with running_gateway(tmp_path, values) as second, client_of(second.url) as client:
        assert client.batches.retrieve(batch.id).status == "in_progress"
        done = wait_for(client, batch.id, lambda each: each.status == "completed")
        assert (done.request_counts.total, done.request_counts.completed, done.request_counts.failed) == (40, 40, 0)
        lines = [json.loads(line) for line in client.files.content(done.output_file_id).text.splitlines()]
        assert [line["custom_id"] for line in lines] == [f"c{n}" for n in range(40)]
        assert len({line["response"]["request_id"] for line in lines}) == 40


@pytest.fixture
def postgres():
    server = Postgres()
    server.start()
    yield server
    server.stop()


def test_one_of_two_gateways_dies_and_the_other_goes_on_with_its_batches(simulated, postgres, tmp_path):
    """Both on one PostgreSQL and one folder of files, each with batches of its own when one is killed."""
    values = {
        "server": {"data": str(tmp_path / "data"), "database": postgres.url},
        "deployments": {"replay": deployment_of(simulated)},
        "models": {MODEL: {"deployments": {"replay": 1}}},
        "storage": {"batch_lease_s": 1.0, "batch_concurrency": 4, "max_batches": 1},
    }
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    with (
        running_gateway(tmp_path / "one", values) as one,
        running_gateway(tmp_path / "two", values) as two,
        client_of(two.url) as client,
    ):
        batches = [make_batch(client, 40, max_tokens=40).id for _ in range(2)]
        for batch_id in batches:
            wait_for(client, batch_id, lambda each: each.request_counts.completed >= 4)
        one.process.kill()
        for batch_id in batches:
            done = wait_for(client, batch_id, lambda each: each.status == "completed")
            assert (done.request_counts.completed, done.request_counts.failed) == (40, 0)
            lines = [json.loads(line) for line in client.files.content(done.output_file_id).text.splitlines()]
            assert [line["custom_id"] for line in lines] == [f"c{n}" for n in range(40)]
        response = client.responses.create(model=MODEL, input="hi", max_output_tokens=4)
        assert client.responses.retrieve(response.id) == response
        assert httpx.get(f"{two.url}/v1/files/%00", trust_env=False).status_code == 404


def test_a_file_above_the_limit_is_refused_while_it_comes(simulated, tmp_path):
    """Also when its length is not told; nothing of it stays."""
    values = {
        "server": {"data": str(tmp_path / "data"), "max_file_bytes": 1 << 20},
        "deployments": {"replay": deployment_of(simulated)},
        "models": {MODEL: {"deployments": {"replay": 1}}},
    }

    def form():
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n'
        for _ in range(200):
            yield b"x" * 65_536

    with running_gateway(tmp_path, values) as running:
        headers = {"content-type": "multipart/form-data; boundary=b"}
        answer = httpx.post(f"{running.url}/v1/files", content=form(), headers=headers, timeout=30, trust_env=False)
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "request_too_large")
        assert not list((tmp_path / "data" / "files").iterdir())


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_what_fits_the_document_is_answered_as_it_says(gateway, method, path):
    """Never by a failure of ours."""

    def ask_the_simulated_engine(case):
        if "responses" in path and isinstance(case.body, dict):
            case.body |= {"model": MODEL, "max_output_tokens": 2}

    schema = schemathesis.openapi.from_url(f"{gateway.url}/openapi.json")
    drive(schema[path][method], GenerationMode.POSITIVE, ask_the_simulated_engine)


@pytest.mark.parametrize("path", ["/v1/responses", "/v1/batches"])
def test_what_does_not_fit_is_refused(gateway, path):
    drive(schemathesis.openapi.from_url(f"{gateway.url}/openapi.json")[path]["POST"], GenerationMode.NEGATIVE)
