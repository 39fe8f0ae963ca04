"""KServe v2 over HTTP, over deployments that follow a script."""

import asyncio
import json

import pytest
from tests.unit.gateway.kserve_api.surroundings import Surroundings, Upstreams
from tests.unit.gateway.loop import until
from tests.unit.gateway.scripted_upstream import words

from trident.errors import EngineError, InvalidRequestError, UnavailableError
from trident_client.completion import Delta
from trident_client.sampling import Sampling

pytestmark = pytest.mark.anyio
BODY = {"text_input": "Hello", "max_tokens": 8, "exclude_input_in_output": True}
ANSWER = words(" one", " two", " three")
MODEL = "/v2/models/chat"


@pytest.fixture
def made(tmp_path):
    """Surroundings of one deployment that says this; or of several."""

    def make(*script, **options):
        return Surroundings(tmp_path, Upstreams(main=list(script or ANSWER)), **options)

    return make


def events_of(response):
    return [json.loads(line.removeprefix("data: ")) for line in response.text.splitlines() if line]


async def test_health_is_told_to_everybody(made):
    """A probe has no key."""
    surroundings = made()
    async with surroundings.http() as client:
        assert (await client.get("/v2/health/live")).status_code == 200
        assert (await client.get("/v2/health/ready")).status_code == 200
        surroundings.upstreams.ready.clear()
        assert (await client.get(f"{MODEL}/ready")).status_code == 503


async def test_metadata_of_a_route_and_of_its_alias(made):
    """The contract's tensors, by the name that was asked."""
    async with made().http() as client:
        assert (await client.get("/v2")).json()["name"] == "trident-gateway"
        for name in ("chat", "assistant"):
            metadata = (await client.get(f"/v2/models/{name}/versions/1")).json()
            assert (metadata["name"], metadata["versions"]) == (name, ["1"])
            inputs = {each["name"]: each for each in metadata["inputs"]}
            assert inputs["max_tokens"] == {"name": "max_tokens", "datatype": "INT32", "shape": [1, 1]}
            assert "stop" in inputs


async def test_generate_answers_whole(made):
    """One JSON object; upstream is asked for a stream all the same, and the answer is settled."""
    surroundings = made()
    async with surroundings.http() as client:
        response = await client.post(f"{MODEL}/generate", json={**BODY, "id": "mine", "return_num_output_tokens": True})
    assert response.status_code == 200
    answer = response.json()
    assert (answer["id"], answer["model_name"], answer["text_output"]) == ("mine", "chat", " one two three")
    assert (answer["finish_reason"], answer["num_output_tokens"]) == ("stop", 3)
    assert "num_input_tokens" not in answer
    assert response.headers["x-trident-deployment"] == "main"
    ((_, prompt, sampling, request_id, _),) = surroundings.upstreams.asked
    assert (prompt, sampling) == ("Hello", Sampling(max_tokens=8))
    assert request_id == response.headers["x-request-id"] != "mine"


async def test_generate_stream_answers_in_events(made):
    """Each of the same form; a request that is not streamed has one."""
    async with made().http() as client:
        streamed = await client.post(f"{MODEL}/generate_stream", json={**BODY, "stream": True})
        whole = await client.post(f"{MODEL}/generate_stream", json=BODY)
    assert streamed.headers["content-type"].startswith("text/event-stream")
    events = events_of(streamed)
    assert [event["text_output"] for event in events] == [" one", " two", " three"]
    assert [event.get("finish_reason") for event in events] == [None, None, "stop"]
    assert [event["text_output"] for event in events_of(whole)] == [" one two three"]


async def test_infer_answers_tensors(made):
    """Only those that were named."""
    inputs = [
        {"name": "text_input", "shape": [1, 1], "datatype": "BYTES", "data": ["Hello"]},
        {"name": "max_tokens", "shape": [1, 1], "datatype": "INT32", "data": [8]},
    ]
    async with made().http() as client:
        response = await client.post(f"{MODEL}/infer", json={"inputs": inputs, "outputs": [{"name": "text_output"}]})
    assert response.json() == {
        "model_name": "chat",
        "model_version": "1",
        "outputs": [{"name": "text_output", "datatype": "BYTES", "shape": [1], "data": ["Hello one two three"]}],
    }


@pytest.mark.parametrize("verb", ["generate", "infer"])
async def test_calls_with_one_answer_refuse_what_has_several(made, verb):
    """As Triton's do with a decoupled model; the sentence says what to use."""
    inputs = [{"name": "stream", "shape": [1, 1], "datatype": "BOOL", "data": [True]}]
    inputs += [
        {"name": "text_input", "shape": [1, 1], "datatype": "BYTES", "data": ["Hello"]},
        {"name": "max_tokens", "shape": [1, 1], "datatype": "INT32", "data": [8]},
    ]
    body = {**BODY, "stream": True} if verb == "generate" else {"inputs": inputs}
    surroundings = made()
    async with surroundings.http() as client:
        response = await client.post(f"{MODEL}/{verb}", json=body)
    assert response.status_code == 400
    assert "use generate_stream" in response.json()["error"]
    assert not surroundings.upstreams.asked


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v2/models/nobody", 404),
        ("GET", "/v2/models/chat/versions/2", 404),
        ("GET", "/v2/models/nobody/ready", 404),
        ("POST", "/v2/models/nobody/generate", 404),
        ("GET", "/v2/models/chat/config", 404),
        ("GET", "/v2/models/chat/stats", 404),
        ("GET", "/v2/models/stats", 404),
        ("POST", "/v2/repository/index", 404),
        ("POST", "/v2/repository/models/chat/load", 404),
        ("POST", "/v2/systemsharedmemory/region/x/register", 404),
        ("GET", "/v2/cudasharedmemory/status", 404),
        ("GET", "/v2/trace/setting", 404),
        ("POST", "/v2/logging", 404),
        ("GET", "/v2/models/chat/generate", 405),
        ("POST", "/v2/models/chat", 405),
    ],
)
async def test_what_is_not_offered_is_not_found_and_never_forwarded(made, method, path, status):
    """In KServe's form."""
    surroundings = made()
    async with surroundings.http() as client:
        response = await client.request(method, path, json=BODY if method == "POST" else None)
    assert response.status_code == status
    assert list(response.json()) == ["error"]
    assert isinstance(response.json()["error"], str)
    assert not surroundings.upstreams.asked


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (InvalidRequestError("temperature is -1"), 400, "temperature is -1"),
        (UnavailableError("connect to 10.0.0.7 failed"), 503, None),
        (EngineError("CUDA error at /opt/engine"), 500, None),
    ],
)
async def test_an_error_before_the_first_token_has_a_status(made, error, status, said):
    """And what failed behind the gateway stays there."""
    async with made(error).http() as client:
        for verb in ("generate", "generate_stream"):
            response = await client.post(f"{MODEL}/{verb}", json=BODY)
            assert response.status_code == status
            assert said is None or response.json() == {"error": said}
            assert "10.0.0.7" not in response.text
            assert "/opt" not in response.text


async def test_an_error_in_mid_stream_is_the_last_event(made):
    """Under a status of 200, as Triton's."""
    async with made(Delta(" one"), EngineError("CUDA error at /opt/engine")).http() as client:
        response = await client.post(f"{MODEL}/generate_stream", json={**BODY, "stream": True})
    assert response.status_code == 200
    first, last = events_of(response)
    assert first["text_output"] == " one"
    assert list(last) == ["error"]
    assert "/opt" not in last["error"]


async def test_stop_ends_the_tenants_request_of_that_id(made):
    """By the gateway's own id of it, at the deployment that answers it; another id ends nothing."""
    surroundings = made(Delta(" one"), "hang")
    async with surroundings.http() as client:
        running = asyncio.create_task(client.post(f"{MODEL}/generate", json={**BODY, "id": "mine"}))
        await until(lambda: surroundings.upstreams.asked)
        for name in ("other", "mine"):
            stopped = await client.post(f"{MODEL}/generate_stream", json={"id": name, "stop": True})
            assert (stopped.status_code, stopped.content) == (200, b"")
        ((_, _, _, request_id, _),) = surroundings.upstreams.asked
        assert surroundings.upstreams.cancels == [("main", request_id)]
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_plain_generate_is_vllms_with_max_tokens(made):
    """The prompt before the text; streamed, a line for each text so far."""
    async with made().http() as client:
        whole = await client.post("/generate", json={"prompt": "Hello", "max_tokens": 8})
        streamed = await client.post("/generate", json={"prompt": "Hello", "max_tokens": 8, "stream": True})
    assert whole.json() == {"text": ["Hello one two three"]}
    assert [json.loads(line)["text"] for line in streamed.text.splitlines()] == [
        ["Hello one"],
        ["Hello one two"],
        ["Hello one two three"],
    ]


async def test_plain_generate_counts_with_max_new_tokens(made):
    """And parses what is JSON."""
    async with made(*words('{"a": ', "1}")).http() as client:
        answer = (await client.post("/generate", json={"prompt": "Hello", "max_new_tokens": 8})).json()
    assert answer.pop("latency_ms") >= 0
    assert answer == {
        "status": "success",
        "generated_text": '{"a": 1}',
        "finish_reason": "stop",
        "prompt_tokens": 4,
        "generated_tokens": 2,
        "parsed_json": {"a": 1},
    }


async def test_plain_generate_asks_the_route_that_is_called_default(tmp_path):
    """A request that names none; without such a route it has to."""
    routes = {"one": {"deployments": {"a": 1}}, "two": {"deployments": {"b": 1}}}
    for aliases, status in (([], 400), (["default"], 200)):
        models = {**routes, "two": {**routes["two"], "aliases": aliases}}
        surroundings = Surroundings(tmp_path, Upstreams(a=ANSWER, b=ANSWER), models)
        async with surroundings.http() as client:
            response = await client.post("/generate", json={"prompt": "Hello"})
            named = await client.post("/generate", json={"prompt": "Hello", "model": "one"})
        assert (response.status_code, named.status_code) == (status, 200)
        assert response.headers.get("x-trident-deployment") == ("b" if aliases else None)


async def test_a_key_is_asked_for_wherever_something_is_told(made):
    """But for health."""
    surroundings = made()
    auth = surroundings.gateway.config.auth.model_copy(update={"required": True})
    surroundings.gateway.authenticator.update(surroundings.gateway.config.model_copy(update={"auth": auth}))
    async with surroundings.http() as client:
        for method, path in (("GET", "/v2"), ("GET", MODEL), ("POST", f"{MODEL}/generate"), ("GET", "/v2/x")):
            response = await client.request(method, path)
            assert response.status_code == 401, path
            assert list(response.json()) == ["error"]
        assert (await client.post("/generate")).status_code == 401
        assert (await client.get("/v2/health/live")).status_code == 200
