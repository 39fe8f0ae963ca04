"""What engines say of their queues: which are read, what is taken from a page, and what becomes of silence."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from tests.unit.gateway.loop import run
from tests.unit.gateway.scripted_upstream import config_of
from trident.gateway.config import Deployment
from trident.gateway.deployment_state import EngineLoad
from trident.gateway.load_watcher import LoadWatcher, engine_in, load_in, served_in, watched
from trident.gateway.router import Router
from trident_client.metrics import parse_metrics

PAGE = """# HELP nv_trt_llm_request_metrics Sequences by where they are
nv_inference_count{model="x",version="1"} 7
nv_trt_llm_request_metrics{model="tensorrt_llm",version="1",request_type="waiting"} 3
nv_trt_llm_request_metrics{model="tensorrt_llm",version="1",request_type="scheduled"} 8
nv_trt_llm_request_metrics{model="tensorrt_llm",version="1",request_type="active"} 11
nv_trt_llm_request_metrics{model="tensorrt_llm",version="1",request_type="max"} 16
nv_trt_llm_request_metrics{model="other",version="1",request_type="scheduled"} 4
"""


def test_the_load_is_what_runs_and_waits_over_the_places_of_one_engine_or_of_all():
    assert load_in(parse_metrics(PAGE), "tensorrt_llm") == EngineLoad(11, 16)
    assert load_in(parse_metrics(PAGE), "other") == EngineLoad(4, 1)
    assert load_in(parse_metrics(PAGE), None) == EngineLoad(15, 16)
    assert load_in(parse_metrics(PAGE), "absent") is load_in(parse_metrics("nothing here"), None) is None


def test_deployments_are_read_that_are_chosen_by_load_or_of_which_the_file_says_no_version():
    models = {
        "chat": {"deployments": {"a": 1, "b": 1}, "policy": "least_loaded"},
        "prefix": {"deployments": {"c": 1, "d": 1}, "policy": "prefix_affinity"},
        "plain": {"deployments": {"e": 1, "f": 1}},
        "alone": {"deployments": {"g": 1}, "policy": "least_loaded"},
    }
    told = {name: {"version": "1"} for name in "abcdeg"}
    told["a"]["metrics_url"], told["b"]["metrics_url"] = "http://m:9/metrics", "m:9"
    config = config_of(models, **told)
    assert watched(config) == {
        "a": "http://m:9/metrics",
        "b": "http://m:9/metrics",
        "f": "http://f:8002/metrics",
        "c": "http://c:8002/metrics",
        "d": "http://d:8002/metrics",
    }


@asynccontextmanager
async def page_server(answers):
    """Answers one request after the other, the last for ever; None closes the connection without a word."""
    remaining = list(answers)
    served = asyncio.Event()

    async def answer(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        page = remaining.pop(0) if len(remaining) > 1 else remaining[0]
        if page is not None:
            writer.write(f"HTTP/1.1 200 OK\r\ncontent-length: {len(page)}\r\nconnection: close\r\n\r\n{page}".encode())
        served.set()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/metrics", served


@pytest.mark.parametrize("answers", [[PAGE], [None, "no metrics", PAGE]])
def test_a_reading_arrives_whatever_failed_before_it(answers):
    async def use():
        async with page_server(answers) as (url, _):
            models = {"chat": {"deployments": {"a": 1, "b": 1}, "policy": "least_loaded"}}
            config = config_of(models, a={"metrics_url": url}, b={"metrics_url": "127.0.0.1:1"})
            router = Router(config)
            watcher = LoadWatcher(router, config, period_s=0.01)
            watcher.start()
            while router.states["a"].load() is None:  # noqa: ASYNC110 - there is no event for it
                await asyncio.sleep(0.01)
            await watcher.close()
            return router.states["a"].load(), router.states["b"].load()

    assert run(use()) == (15 / 16, None)


def test_a_deployment_that_comes_with_a_rewritten_file_is_read_too():
    async def use():
        async with page_server([PAGE]) as (url, served):
            before = config_of({"chat": {"deployments": {"a": 1}}})
            models = {"chat": {"deployments": {"a": 1, "b": 1}, "policy": "least_loaded"}}
            after = config_of(models, a={"metrics_url": "127.0.0.1:1"}, b={"metrics_url": url})
            router = Router(before)
            watcher = LoadWatcher(router, before, period_s=0.01)
            watcher.start()
            router.update(after)
            watcher.update(after)
            await served.wait()
            await watcher.close()

    run(use())


def info(*lines):
    return engine_in(parse_metrics("\n".join(lines)), Deployment(url="a:1"))


ENGINE = 'trident_engine_info{{model="tensorrt_llm",version="1",kind="openvino",engine="e",engine_version="{}"}} {}'
TEXT = 'trident_text_info{{model="x",version="1",manifest_sha256="{}",templates_sha256="{}",policy_sha256="{}"}} 1'


def test_an_engine_is_its_version_and_the_sums_of_what_makes_its_texts():
    told = {info(ENGINE.format(1, 1), TEXT.format(*sums)) for sums in ("abc", "xbc", "axc", "abx")}
    assert len(told) == 4
    assert info(TEXT.format(*"abc"), ENGINE.format(1, 1)) in told


def test_an_engine_that_was_promoted_and_taken_back_is_the_one_before():
    """And its answers are not those of the one between: what was replaced has the value 0."""
    first = info(ENGINE.format(1, 1))
    second = info(ENGINE.format(1, 0), ENGINE.format(2, 1))
    assert info(ENGINE.format(1, 1), ENGINE.format(2, 0)) == first != second
    assert served_in(parse_metrics(ENGINE.format(1, 0) + "\n" + ENGINE.format(2, 1))) == "e@2"
    assert served_in(parse_metrics(PAGE)) == ""
