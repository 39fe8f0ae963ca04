"""Limits at running gateways: what the official client sees of them, over processes, restarts and the loss of Redis."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor

import openai
import pytest
from typer.testing import CliRunner

from tests.gateway.conftest import deployment_of
from tests.gateway.running_gateway import running_gateway
from tests.gateway.running_redis import running_redis
from trident.cli import app


def values_of(simulated, **values):
    return {
        "auth": {"required": True},
        "deployments": {"replay": deployment_of(simulated)},
        "models": {
            "simulated": {
                "deployments": {"replay": 1},
                "price": {"input_per_million": 1000.0, "output_per_million": 1000.0},
            }
        },
        **values,
    }


@pytest.fixture(scope="module")
def limited(simulated, tmp_path_factory):
    """A gateway whose keys get limits of their own."""
    with running_gateway(tmp_path_factory.mktemp("limited"), values_of(simulated)) as running:
        yield running


@pytest.fixture(scope="module")
def redis(tmp_path_factory):
    try:
        with running_redis(tmp_path_factory.mktemp("redis")) as running:
            yield running
    except LookupError as exc:
        pytest.skip(str(exc))


def new_key(running, *options):
    result = CliRunner().invoke(app, ["keys", "create", "--config", str(running.config_path), *options, "--json"])
    assert result.exit_code == 0, result.exception
    return json.loads(result.stdout)["key"]


def client_of(running, key):
    return openai.OpenAI(base_url=f"{running.url}/v1", api_key=key, max_retries=0)


def ask(client, num_tokens=4, **options):
    return client.chat.completions.with_raw_response.create(
        model="simulated",
        messages=[{"role": "user", "content": "Hello"}],
        max_completion_tokens=num_tokens,
        **options,
    )


def num_admitted(clients, number):
    """Of so many requests at once, in turn through the clients."""

    def admitted(at):
        try:
            ask(clients[at % len(clients)])
        except openai.RateLimitError:
            return 0
        return 1

    with ThreadPoolExecutor(24) as pool:
        return sum(pool.map(admitted, range(number)))


def test_answer_says_how_the_limits_stand(limited):
    """In OpenAI's headers, streamed or not."""
    key = new_key(limited, "--requests-per-minute", "5", "--tokens-per-minute", "5000")
    with client_of(limited, key) as client:
        headers = ask(client).headers
        assert headers["x-ratelimit-limit-requests"] == "5"
        assert headers["x-ratelimit-remaining-requests"] == "4"
        assert headers["x-ratelimit-reset-requests"] == "1m0s"
        assert headers["x-ratelimit-limit-tokens"] == "5000"
        assert 4900 < int(headers["x-ratelimit-remaining-tokens"]) < 5000
        streamed = ask(client, stream=True)
        assert streamed.headers["x-ratelimit-remaining-requests"] == "3"
        assert list(streamed.parse())


def test_request_above_the_limit_is_a_rate_limit_error_that_says_when(limited):
    """Whole seconds for everybody, milliseconds for openai's clients."""
    with client_of(limited, new_key(limited, "--requests-per-minute", "2")) as client:
        ask(client)
        ask(client)
        with pytest.raises(openai.RateLimitError) as refusal:
            ask(client)
    headers = refusal.value.response.headers
    assert (refusal.value.code, refusal.value.type) == ("rate_limit_exceeded", "requests")
    assert headers["x-ratelimit-remaining-requests"] == "0"
    assert 0 < int(headers["retry-after-ms"]) <= 60_000
    assert int(headers["retry-after"]) == -(-int(headers["retry-after-ms"]) // 1000)


def test_tokens_are_settled_by_what_was_generated(limited):
    """A large `max_completion_tokens` is held while it runs only; one that can never fit is not to be sent again."""
    with client_of(limited, new_key(limited, "--tokens-per-minute", "600")) as client:
        for _ in range(3):
            remaining = int(ask(client, 250, stop=[" "]).headers["x-ratelimit-remaining-tokens"])
            assert remaining > 250
        with pytest.raises(openai.RateLimitError) as refusal:
            ask(client, 700)
    assert refusal.value.type == "tokens"
    assert refusal.value.response.headers["x-should-retry"] == "false"


def test_streams_at_once_are_limited_until_they_end_or_their_client_leaves(limited):
    """The second stream is refused while the first runs, and let in when its client has gone."""
    with client_of(limited, new_key(limited, "--concurrent-requests", "1")) as client:
        first = ask(client, 400, stream=True).parse()
        next(iter(first))
        with pytest.raises(openai.RateLimitError, match="1 requests at once"):
            ask(client)
        first.close()
        for _ in range(100):
            try:
                answer = ask(client)
                break
            except openai.RateLimitError:
                continue
        assert answer.parse().choices[0].message.content


def spend(client):
    """A budget of a fifth, in requests of 0.04 and some."""
    for _ in range(20):
        ask(client, 40)


def test_budget_of_the_day_outlives_a_restart(simulated, tmp_path):
    """What is spent stays spent; the client is told not to try again."""
    values = values_of(simulated, tenants={"default": {"limits": {"daily_budget": 0.2}}})
    with running_gateway(tmp_path, values) as running:
        key = new_key(running)
        with client_of(running, key) as client, pytest.raises(openai.RateLimitError) as refusal:
            spend(client)
    assert refusal.value.code == "insufficient_quota"
    assert refusal.value.response.headers["x-should-retry"] == "false"
    with (
        running_gateway(tmp_path, values) as running,
        client_of(running, key) as client,
        pytest.raises(openai.RateLimitError, match=r"daily budget of 0\.2"),
    ):
        ask(client, 40)


def test_two_gateways_that_race_admit_the_limit_together_and_go_on_without_redis(simulated, redis, tmp_path):
    """Sixty requests through both for a limit of twenty; then Redis dies, and nobody gets a 500."""
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    shared = {
        "redis": redis.url,
        "database": f"sqlite:///{tmp_path}/shared.db",
        "pepper_file": str(tmp_path / "pepper"),
    }
    (tmp_path / "pepper").write_text("p" * 64)
    values = values_of(simulated, server=shared, tenants={"team": {"limits": {"requests_per_minute": 20}}})
    with running_gateway(tmp_path / "one", values) as one, running_gateway(tmp_path / "two", values) as two:
        key = new_key(one, "--tenant", "team")
        with client_of(one, key) as first, client_of(two, key) as second:
            assert num_admitted([first, second], 60) == 20
            redis.kill()
            assert num_admitted([first, second], 60) == 40
            assert "Redis is away" in one.log_path.read_text()
            redis.start()
            deadline = time.monotonic() + 20
            while "Redis is back" not in one.log_path.read_text():
                assert time.monotonic() < deadline
                num_admitted([first], 1)
