"""What is counted for which deployment, of this worker since it started."""

import asyncio
import contextlib
import random

import pytest

from tests.unit.gateway.scripted_upstream import Bench, ScriptedUpstreams, config_of, words
from trident.errors import EngineError, InvalidRequestError, UnavailableError
from trident.gateway.asked import Decision, Outcome
from trident.gateway.config import Deployment
from trident.gateway.route_statistics import Reservoir, RouteStatistics

MODELS = {"chat": {"deployments": {"main": 1}, "fallbacks": ["spare"]}}


def counts_after(**scripts):
    """(requests, errors) by deployment, of one request."""
    config = config_of(MODELS)
    bench = Bench(ScriptedUpstreams(**{"main": [], "spare": [], **scripts}), config)
    statistics = RouteStatistics(config.deployments)

    async def use():
        async with bench.exchange() as exchange:
            async for _ in exchange:
                pass

    with contextlib.suppress(EngineError, InvalidRequestError):
        asyncio.run(use())
    statistics.ended(bench.outcome)
    return {name: (arm.num_requests, arm.num_errors) for name, arm in statistics.arms("chat").items()}


def test_a_failure_counts_for_the_deployment_that_failed_and_the_answer_for_the_one_that_gave_it():
    assert counts_after(main=[UnavailableError("gone")], spare=words("a")) == {"main": (1, 1), "spare": (1, 0)}


def test_what_the_client_did_wrong_is_no_error_of_the_deployment():
    assert counts_after(main=[InvalidRequestError("no")]) == {"main": (1, 0)}


def test_a_deployment_that_moved_begins_anew():
    statistics = RouteStatistics({"main": Deployment(url="a:1"), "copy": Deployment(url="b:1")})
    for name in ("main", "copy"):
        statistics.ended(Outcome(None, Decision("chat", (name,), ()), name))
    statistics.update({"main": Deployment(url="a:1", max_concurrent=3), "copy": Deployment(url="b:1", version="2")})
    assert list(statistics.arms("chat")) == ["main"]


def test_a_reservoir_is_bounded_and_keeps_a_fair_sample():
    reservoir = Reservoir(200, random.Random(2).random)
    for value in range(20_000):
        reservoir.add(value)
    values = reservoir.values()
    assert (values.size, reservoir.num_added) == (200, 20_000)
    assert values.mean() == pytest.approx(10_000, rel=0.1)
