"""Keys at a running gateway: made and revoked by `trident keys`, shown by the official client, guessed by others."""

from __future__ import annotations

import json
import time

import httpx
import openai
import pytest
from typer.testing import CliRunner

from tests.gateway.conftest import deployment_of
from tests.gateway.running_gateway import running_gateway
from trident.cli import app
from trident.gateway.key_ring import KEPT_S


@pytest.fixture(scope="module")
def keyed(simulated, tmp_path_factory):
    """A gateway that asks for keys."""
    values = {
        "auth": {"required": True, "max_failures_per_minute": 1000},
        "deployments": {"replay": {**deployment_of(simulated), "isolate_tenants": True}},
        "models": {"simulated": {"deployments": {"replay": 1}}, "second": {"deployments": {"replay": 1}}},
    }
    with running_gateway(tmp_path_factory.mktemp("keyed"), values) as running:
        yield running


def trident_keys(running, *arguments):
    """What the verb prints, read as JSON."""
    result = CliRunner().invoke(app, ["keys", *arguments, "--config", str(running.config_path), "--json"])
    assert result.exit_code == 0, result.exception
    return json.loads(result.stdout)


def ask(running, key, model="simulated", content="Hello"):
    with openai.OpenAI(base_url=f"{running.url}/v1", api_key=key, max_retries=0) as client:
        return client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": content}], max_completion_tokens=4
        )


def test_key_opens_what_it_is_made_for(keyed):
    """Its models and endpoints, and nothing else."""
    made = trident_keys(keyed, "create", "--tenant", "team", "--models", "simulated", "--endpoints", "chat")
    assert ask(keyed, made["key"]).choices[0].message.content
    with pytest.raises(openai.PermissionDeniedError) as refusal:
        ask(keyed, made["key"], "second")
    assert refusal.value.code == "model_not_allowed"
    with (
        openai.OpenAI(base_url=f"{keyed.url}/v1", api_key=made["key"], max_retries=0) as client,
        pytest.raises(openai.PermissionDeniedError) as refusal,
    ):
        client.completions.create(model="simulated", prompt="Hello", max_tokens=4)
    assert refusal.value.code == "endpoint_not_allowed"


def test_tenants_share_no_prefix_cache(keyed):
    """What one has asked is found by its own next request, and by nobody else's."""
    keys = {tenant: trident_keys(keyed, "create", "--tenant", tenant)["key"] for tenant in ("first", "second")}
    content = "Whether the two of them meet in the cache of prefixes is what this long question is about. " * 20

    def num_cached(tenant):
        return ask(keyed, keys[tenant], content=content).usage.prompt_tokens_details.cached_tokens

    assert num_cached("first") == 0
    assert num_cached("first") > 0
    assert num_cached("second") == 0


def test_key_comes_in_any_of_the_three_headers(keyed):
    """What clients of OpenAI, Azure and Anthropic send; two that differ are refused."""
    key = trident_keys(keyed, "create")["key"]
    url = f"{keyed.url}/v1/models"
    for headers in ({"authorization": f"Bearer {key}"}, {"api-key": key}, {"x-api-key": key}):
        assert httpx.get(url, headers=headers, trust_env=False).status_code == 200
    both = httpx.get(url, headers={"authorization": f"Bearer {key}", "api-key": key[:-1] + "x"}, trust_env=False)
    assert both.status_code == 401


@pytest.mark.parametrize("key", ["wrong", "tri_0123456789ab_" + "0" * 64])
def test_wrong_key_is_an_authentication_error(keyed, key):
    """With OpenAI's code, and how to send a key."""
    with pytest.raises(openai.AuthenticationError) as refusal:
        ask(keyed, key)
    assert refusal.value.code == "invalid_api_key"
    assert refusal.value.response.headers["www-authenticate"] == "Bearer"
    assert key not in refusal.value.response.text


def test_rotated_key_works_with_both_secrets_and_a_revoked_one_with_none(keyed):
    """Within the seconds that a gateway keeps what it has looked up."""
    made = trident_keys(keyed, "create")
    assert ask(keyed, made["key"])
    renewed = trident_keys(keyed, "rotate", made["prefix"], "--grace", "1h")
    assert _works_within(keyed, renewed["key"], True)
    assert ask(keyed, made["key"])
    trident_keys(keyed, "revoke", made["prefix"])
    assert _works_within(keyed, renewed["key"], False)
    assert _works_within(keyed, made["key"], False)


def test_log_and_database_of_the_gateway_hold_no_secret(keyed):
    """Whatever was asked with it."""
    key = trident_keys(keyed, "create")["key"]
    ask(keyed, key)
    secret = key.split("_")[2].encode()
    files = [path for path in (keyed.config_path.parent / "data").rglob("*") if path.is_file()]
    assert files
    assert not [path for path in [*files, keyed.log_path] if secret in path.read_bytes()]


def test_guessing_is_throttled_and_a_client_that_worked_goes_on(simulated, tmp_path):
    """Five wrong keys in a minute; then the sixth is told to wait, and so is any key that was never seen."""
    values = {
        "auth": {"required": True, "max_failures_per_minute": 5},
        "deployments": {"replay": deployment_of(simulated)},
        "models": {"simulated": {"deployments": {"replay": 1}}},
    }
    with running_gateway(tmp_path, values) as running:
        good, unseen = trident_keys(running, "create")["key"], trident_keys(running, "create")["key"]
        assert ask(running, good)
        for number in range(5):
            with pytest.raises(openai.AuthenticationError):
                ask(running, f"guess-{number}")
        for key in ("guess", unseen):
            with pytest.raises(openai.RateLimitError) as refusal:
                ask(running, key)
            assert 0 < int(refusal.value.response.headers["retry-after"]) <= 60
        assert ask(running, good)


def _works_within(running, key, expected):
    """Whether the key does, or does not, as expected before long."""
    deadline = time.monotonic() + KEPT_S + 3
    while time.monotonic() < deadline:
        answer = httpx.get(f"{running.url}/v1/models", headers={"x-api-key": key}, trust_env=False)
        if (answer.status_code == 200) == expected:
            return True
        time.sleep(0.9)
    return False
