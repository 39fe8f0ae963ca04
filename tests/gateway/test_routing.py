"""Routes before two real Triton servers: shares, explanations, shadows, a server that is killed and comes back."""

import asyncio
import json
import os
import signal
import time

import httpx
import pytest
from typer.testing import CliRunner

from tests.gateway.conftest import deployment_of
from tests.gateway.running_gateway import running_gateway, to_toml
from trident.cli import app as cli
from trident.errors import InvalidRequestError, TridentError, UnavailableError
from trident.server.ports import free_ports
from trident.server.running import running_server

PATIENCE_S = 60.0  # until a killed server is back, on a machine that does much else
TOKENS_PER_S = 200  # of every stream of the simulated engine


@pytest.fixture(scope="module")
def mortal(simulated):
    """A second simulated server, which may be killed: its watchdog starts it anew at the same ports."""
    with running_server(simulated.settings.model_copy(update=free_ports())) as running:
        yield running


@pytest.fixture(scope="module")
def values(simulated, mortal):
    """`a` may be killed, `b` never is."""
    deployments = {"a": deployment_of(mortal), "b": deployment_of(simulated)}
    deployments["a"] |= {"version": "2", "breaker": {"max_rest_s": 0.5}}
    halves = {"a": 50, "b": 50}
    return {
        "auth": {"required": False},
        "deployments": deployments,
        "models": {
            "drawn": {"deployments": {"a": 20, "b": 80}, "aliases": ["shared"]},
            "sticky": {"deployments": halves, "sticky": "user"},
            "least": {"deployments": halves, "policy": "least_loaded"},
            "shadowed": {"deployments": {"b": 1}, "shadow": "a"},
            "only-a": {"deployments": {"a": 1}},
            "a-then-b": {"deployments": {"a": 1}, "fallbacks": ["b"]},
        },
        "rules": [{"name": "codeword", "when": {"model": "drawn", "prompt_matches": "^xyzzy"}, "use_model": "only-a"}],
    }


@pytest.fixture(scope="module")
def gateway(values, tmp_path_factory):
    """Before both. Whoever rewrites its file puts it back."""
    with running_gateway(tmp_path_factory.mktemp("routing"), values) as running:
        yield running


def run(gateway, use):
    """`use` with an HTTP client that has as many connections as it wants."""

    async def main():
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(base_url=gateway.url, timeout=60, trust_env=False, limits=limits) as http:
            return await use(http)

    return asyncio.run(main())


def chat(model, max_tokens=1, prompt="Hi", **more):
    return {"model": model, "messages": [{"role": "user", "content": prompt}], "max_tokens": max_tokens, **more}


async def ask(http, body):
    """A whole answer, and where it came from."""
    answer = await http.post("/v1/chat/completions", json=body)
    assert answer.status_code == 200, answer.text
    return answer.headers["x-trident-deployment"], answer


def shell(*arguments):
    """What `trident route` prints; raises what it would say in one line."""
    result = CliRunner().invoke(cli, ["route", *arguments])
    if isinstance(result.exception, TridentError):
        raise result.exception
    return result.stdout


async def read_stream(http, body):
    """Where a stream came from, its events, the tokens that it says it had, and the error that ended it."""
    body = {**body, "stream": True, "stream_options": {"include_usage": True}}
    async with http.stream("POST", "/v1/chat/completions", json=body) as answer:
        assert answer.status_code == 200, await answer.aread()
        lines = [line async for line in answer.aiter_lines()]
    events = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: {")]
    usage = events[-1].get("usage") or {}
    return answer.headers["x-trident-deployment"], events, usage.get("completion_tokens"), events[-1].get("error")


async def states(http, model="a-then-b"):
    """How each deployment of a model stands."""
    found = (await http.post("/admin/route/explain", json={"model": model})).json()
    return {each["deployment"]: each for each in found["candidates"]}


async def until(is_so, what):
    deadline = time.monotonic() + PATIENCE_S
    while not await is_so():
        assert time.monotonic() < deadline, f"in {PATIENCE_S:g} s: no {what}"
        await asyncio.sleep(0.1)


async def is_told_to_come_back(http, mortal):
    answer = await http.post("/v1/chat/completions", json=chat("only-a"))
    assert answer.status_code == 503
    assert answer.json()["error"]["type"] == "server_error"
    assert answer.headers["retry-after"]
    assert mortal.grpc_url not in answer.text


async def until_back(http):
    """The breaker of `a` lets a probe through, and closes when it is answered."""

    async def is_back():
        deployment, _ = await ask(http, chat("a-then-b"))
        return deployment == "a"

    await until(is_back, "answer of the server that was killed")
    assert (await states(http))["a"]["breaker"] == "closed"


def test_a_canary_gets_its_share_of_requests_that_are_drawn(gateway):
    async def use(http):
        answers = await asyncio.gather(*[ask(http, chat("drawn")) for _ in range(120)])
        return [deployment for deployment, _ in answers].count("a")

    assert 8 <= run(gateway, use) <= 42  # of 24; beyond it once in 10,000 runs


def test_a_sticky_user_stays_where_he_is_and_users_are_spread(gateway):
    async def use(http):
        firsts = {}
        for turn in range(3):
            for number in range(12):
                deployment, _ = await ask(http, chat("sticky", user=f"user-{number}"))
                assert firsts.setdefault(number, deployment) == deployment, turn
        return set(firsts.values())

    assert run(gateway, use) == {"a", "b"}


def test_what_is_explained_is_what_is_done(gateway):
    async def use(http):
        question = {"model": "shared", "prompt": "xyzzy, please"}
        told = (await http.post("/admin/route/explain", json=question)).json()
        _, answer = await ask(http, chat("shared", prompt="xyzzy, please"))
        return told, answer

    told, answer = run(gateway, use)
    assert answer.headers["x-trident-deployment"] == told["candidates"][0]["deployment"] == "a"
    assert answer.headers["x-trident-route"] == "; ".join(told["reasons"])
    assert told["reasons"][:2] == ["model drawn by its alias shared", "rule codeword: model only-a"]


def test_engines_tell_their_load_and_the_idle_one_is_taken(gateway):
    async def use(http):
        async def is_told():
            return all(each["engine_load"] is not None for each in (await states(http, "least")).values())

        await until(is_told, "reading of the engines' metrics")
        busy = [asyncio.create_task(ask(http, chat("only-a", max_tokens=2 * TOKENS_PER_S))) for _ in range(8)]

        async def is_busy():
            return (await states(http))["a"]["running"] == len(busy)

        await until(is_busy, "request on the busy server")
        deployment, answer = await ask(http, chat("least"))
        assert (deployment, answer.headers["x-trident-route"].count("the engines' own queues")) == ("b", 1)
        await asyncio.gather(*busy)

    run(gateway, use)


def test_a_shadow_answers_the_same_and_nobody_sees_it(gateway):
    async def use(http):
        for _ in range(6):
            deployment, _ = await ask(http, chat("shadowed", max_tokens=4, temperature=0))
            assert deployment == "b"

        async def are_compared():
            (report,) = (await http.get("/admin/routes/shadowed/report")).json()["shadows"] or [{"num_compared": 0}]
            return report["num_compared"] == 6

        await until(are_compared, "comparison of every copy")
        return (await http.get("/admin/routes/shadowed/report")).json()

    report = run(gateway, use)
    assert report["arms"][0]["num_requests"] == 6
    assert report["shadows"][0]["equal_rate"]["value"] == 1.0
    assert "a as the shadow of b: 6 compared, 0 failed, 0 left out" in shell("report", "shadowed", "--url", gateway.url)


def test_the_shell_explains_a_running_gateways_live_state(gateway):
    told = shell("explain", "--model", "only-a", "--url", gateway.url)
    assert told.splitlines() == [
        "model only-a, weighted",
        "  1. a: asked first, 100% of the weight",
        "because",
        "  model only-a",
        "  its only deployment",
    ]
    with pytest.raises(InvalidRequestError, match="404: the model 'only-x' does not exist"):
        shell("explain", "--model", "only-x", "--url", gateway.url)
    with pytest.raises(UnavailableError, match="is `trident gateway` running there"):
        shell("report", "only-a", "--url", "127.0.0.1:1")


def test_a_server_that_is_killed_breaks_its_streams_with_an_event_and_loses_nothing_else(gateway, mortal):
    """Whole answers are asked for anew, new requests go elsewhere, and the server is used again when it is back.

    Only where no other deployment is left has the client to come back.
    """

    async def use(http):
        long = {"max_tokens": 2 * TOKENS_PER_S}
        streams = [asyncio.create_task(read_stream(http, chat("a-then-b", **long))) for _ in range(8)]
        wholes = [asyncio.create_task(ask(http, chat("a-then-b", **long))) for _ in range(8)]

        async def all_run():
            return (await states(http))["a"]["running"] == len(streams) + len(wholes)

        await until(all_run, "start of all requests")
        await asyncio.sleep(0.3)  # all streams have begun
        os.kill(mortal.process_id, signal.SIGKILL)
        await is_told_to_come_back(http, mortal)
        late = [asyncio.create_task(ask(http, chat("a-then-b"))) for _ in range(20)]
        late += [asyncio.create_task(ask(http, chat("least"))) for _ in range(20)]
        for deployment, events, _, error in await asyncio.gather(*streams):
            assert (deployment, error["type"]) == ("a", "server_error")
            assert any(event["choices"][0]["delta"].get("content") for event in events[:-1])
        answers = [answer for _, answer in await asyncio.gather(*wholes)]
        assert {answer.json()["usage"]["completion_tokens"] for answer in answers} == {2 * TOKENS_PER_S}
        assert {answer.headers["x-trident-deployment"] for answer in answers} == {"b"}
        late_streams = [asyncio.create_task(read_stream(http, chat("least"))) for _ in range(20)]
        await asyncio.gather(*late)
        assert {error for *_, error in await asyncio.gather(*late_streams)} == {None}
        assert (await states(http))["a"]["running"] == 0
        await until_back(http)

    run(gateway, use)


def test_a_deployment_that_leaves_the_file_finishes_its_streams(gateway, values):
    """New requests go to the others as soon as the file is read; it is read once a second."""
    without = {**values, "models": {**values["models"], "a-then-b": {"deployments": {"b": 1}}}}

    async def use(http):
        stream = asyncio.create_task(read_stream(http, chat("a-then-b", max_tokens=5 * TOKENS_PER_S)))

        async def runs():
            return (await states(http))["a"]["running"] == 1

        await until(runs, "stream on the deployment that leaves")
        gateway.rewrite(without)

        async def has_left():
            return "a" not in await states(http)

        await until(has_left, "rewritten file")
        assert not stream.done()
        assert (await ask(http, chat("a-then-b")))[0] == "b"
        deployment, _, num_tokens, error = await stream
        assert (deployment, num_tokens, error) == ("a", 5 * TOKENS_PER_S, None)

    before = gateway.config_path.read_text()
    try:
        run(gateway, use)
    finally:
        gateway.config_path.write_text(before)


def test_a_file_that_is_wrong_changes_nothing(gateway, values):
    wrong = to_toml({**values, "rules": [{"name": "x", "when": {"prompt_matches": "(?=a)"}, "use_model": "drawn"}]})
    before = gateway.config_path.read_text()

    async def use(http):
        gateway.config_path.write_text(wrong)

        async def is_logged():
            return "no RE2 pattern" in gateway.log_path.read_text()

        await until(is_logged, "line in the log")
        await ask(http, chat("drawn"))

    try:
        run(gateway, use)
    finally:
        gateway.config_path.write_text(before)
