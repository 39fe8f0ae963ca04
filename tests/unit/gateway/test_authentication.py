"""Who asks: every way to send a key, and none to get in without one."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from functools import partial

import pytest
from starlette.datastructures import Headers

from tests.unit.gateway.clock import Clock
from trident.errors import AuthenticationError, RateLimitError, UnavailableError
from trident.gateway import keys
from trident.gateway.authentication import Authenticator, credential_of
from trident.gateway.config_file import parse_config
from trident.gateway.database import Database
from trident.gateway.failures import Failures
from trident.gateway.identity import Limits
from trident.gateway.key_ring import AWAY_S, KEPT_S, KeyRing
from trident.gateway.key_table import add_key, revoke_key

ADDRESS = "203.0.113.7"
WRONG = keys.new_key(keys.new_prefix())


class Door:
    """An authenticator with one key in its database."""

    def __init__(self, tmp_path, **values):
        minimum = {"deployments": {"a": {"url": "host:1"}}, "models": {"m": {"deployments": {"a": 1}}}}
        self.config = parse_config({**minimum, "server": {"data": str(tmp_path)}, **values}, environ={})
        self.database = Database(f"sqlite:///{tmp_path}/gateway.db")
        self.clock = Clock()
        self.authenticator = Authenticator(self.config, self.database, self.clock)
        self.text = ""

    async def open(self, **values):
        await self.database.start()
        await self.authenticator.start()
        prefix = keys.new_prefix()
        self.text = keys.new_key(prefix)
        digest = keys.digest_of(keys.read_pepper(self.config.server), self.text)
        self.key = replace(keys.ApiKey(prefix, "team", "", digest, time.time()), **values)
        await self.database.run(lambda connection: add_key(connection, self.key))

    async def enter(self, text=None, address=ADDRESS):
        headers = {"authorization": f"Bearer {self.text if text is None else text}"}
        return await self.authenticator.authenticate(headers, address)

    async def close(self):
        await self.database.close()


def at_door(tmp_path, function, values=None, **key):
    """`function(door)` on an open one; `values`: the gateway's file; `key`: fields of its key."""

    async def use():
        door = Door(tmp_path, **(values or {}))
        await door.open(**key)
        try:
            await function(door)
        finally:
            await door.close()

    asyncio.run(use())


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Bearer secret"},
        {"authorization": "bearer  secret "},
        {"api-key": "secret"},
        {"x-api-key": "secret"},
        {"authorization": "Bearer secret", "x-api-key": "secret", "api-key": ""},
        Headers(raw=[(b"x-api-key", b"secret"), (b"x-api-key", b"secret")]),
    ],
)
def test_key_may_come_in_any_of_three_headers(headers):
    """OpenAI's, Azure's and Anthropic's; the same one twice is no matter."""
    assert credential_of(headers) == "secret"


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Bearer one", "x-api-key": "two"},
        {"api-key": "one", "x-api-key": "two"},
        Headers(raw=[(b"authorization", b"Bearer one"), (b"authorization", b"Bearer two")]),
    ],
)
def test_several_keys_that_differ_are_refused(headers):
    """A proxy before the gateway and the gateway would otherwise believe different ones."""
    with pytest.raises(AuthenticationError, match="differ"):
        credential_of(headers)


@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer "}, {"cookie": "secret"}, {"x-api-key": " "}])
def test_request_without_a_key_is_told_how_to_send_one(tmp_path, headers):
    """It does not count as a guess."""

    async def use(door):
        for _ in range(20):
            with pytest.raises(AuthenticationError, match="Bearer <key>"):
                await door.authenticator.authenticate(headers, ADDRESS)
        assert await door.enter()

    at_door(tmp_path, use)


@pytest.mark.parametrize("value", ["Basic dXNlcjpwYXNz", "secret", "Bearersecret"])
def test_other_schemes_and_endless_keys_are_refused(tmp_path, value):
    """By what is wrong with them."""

    async def use(door):
        with pytest.raises(AuthenticationError):
            await door.authenticator.authenticate({"authorization": value}, ADDRESS)
        with pytest.raises(AuthenticationError, match="longer"):
            await door.enter("x" * 9000)

    at_door(tmp_path, use)


def test_identity_is_what_key_and_file_say(tmp_path):
    """Scopes and limits of the key, groups and limits of its tenant."""
    values = {"tenants": {"team": {"groups": ["beta"], "limits": {"requests_per_minute": 7}}}}

    async def use(door):
        identity = await door.enter()
        assert (identity.tenant, identity.key_id) == ("team", door.key.prefix)
        assert identity.groups == {"beta"}
        assert identity.models == {"m"}
        assert identity.endpoints == {"chat"}
        assert identity.key_limits == Limits(tokens_per_minute=5)
        assert identity.tenant_limits == Limits(requests_per_minute=7)

    of_key = {"models": frozenset({"m"}), "endpoints": frozenset({"chat"}), "limits": Limits(tokens_per_minute=5)}
    at_door(tmp_path, use, values, **of_key)


@pytest.mark.parametrize(
    ("tenants", "expected"),
    [
        ({}, Limits(requests_per_minute=3)),
        ({"team": {"groups": ["beta"]}}, Limits(requests_per_minute=3)),
        ({"team": {"limits": {}}}, Limits()),
        ({"team": {"limits": {"tokens_per_minute": 9}}}, Limits(tokens_per_minute=9)),
    ],
)
def test_limits_of_the_file_hold_where_a_tenant_has_none_of_its_own(tmp_path, tenants, expected):
    """Also for tenants that the file does not name; an empty table means none at all."""

    async def use(door):
        identity = await door.enter()
        assert identity.tenant_limits == expected
        assert identity.key_limits == Limits(requests_per_minute=3)

    at_door(tmp_path, use, {"tenants": tenants, "limits": {"requests_per_minute": 3}})


def test_rewritten_file_changes_tenants_at_once(tmp_path):
    """Without a restart, and for keys that were seen before."""

    async def use(door):
        assert (await door.enter()).groups == frozenset()
        tenants = {"team": {"groups": ["beta"]}}
        door.authenticator.update(parse_config({**door.config.model_dump(), "tenants": tenants}, environ={}))
        assert (await door.enter()).groups == {"beta"}

    at_door(tmp_path, use)


def test_without_required_keys_everybody_is_the_default_tenant(tmp_path):
    """With its limits, and without the operator's endpoints; openai's clients send some key, which is no matter."""
    values = {"auth": {"required": False}, "tenants": {"default": {"limits": {"requests_per_minute": 2}}}}

    async def use(door):
        for headers in ({}, {"authorization": "Bearer anything"}, {"authorization": "Basic dXNlcjpwYXNz"}):
            identity = await door.authenticator.authenticate(headers, ADDRESS)
            assert identity.tenant == "default"
            assert identity.tenant_limits == Limits(requests_per_minute=2)
            assert identity.endpoints is None
        assert (await door.enter()).tenant == "team"
        with pytest.raises(AuthenticationError):
            await door.enter(WRONG)

    at_door(tmp_path, use, values)


def test_who_guesses_keys_has_to_wait(tmp_path):
    """So many a minute from one address; then the right key is not even looked at."""

    async def use(door):
        for _ in range(4):
            with pytest.raises(AuthenticationError):
                await door.enter(keys.new_key(keys.new_prefix()))
            door.clock.now += 1
        for text in (WRONG, door.text):
            with pytest.raises(RateLimitError, match="wrong keys") as refusal:
                await door.enter(text)
            assert refusal.value.retry_after_s == pytest.approx(56)
        assert await door.enter(address="203.0.113.8")
        door.clock.now += 56
        assert await door.enter()

    at_door(tmp_path, use, {"auth": {"max_failures_per_minute": 4}})


def test_guesses_behind_one_address_do_not_stop_who_worked_before(tmp_path):
    """One client with an old key behind a proxy must not lock out all the others; its own guesses get no further."""

    async def use(door):
        await door.enter()
        for _ in range(4):
            with pytest.raises(AuthenticationError):
                await door.enter(WRONG)
        with pytest.raises(RateLimitError):
            await door.enter(WRONG)
        with pytest.raises(RateLimitError):
            await door.enter(keys.new_key(door.key.prefix))
        door.clock.now += 2 * KEPT_S
        assert await door.enter()
        await door.database.run(lambda connection: revoke_key(connection, door.key.prefix, time.time()))
        door.clock.now += KEPT_S
        with pytest.raises(RateLimitError):
            await door.enter()

    at_door(tmp_path, use, {"auth": {"max_failures_per_minute": 4}})


@pytest.mark.parametrize("is_silent", [False, True], ids=["refuses", "silent"])
def test_while_the_database_is_away_a_key_that_was_good_goes_on_for_a_while_and_no_other_does(
    tmp_path, is_silent, monkeypatch
):
    monkeypatch.setattr("trident.gateway.authentication.KeyRing", partial(KeyRing, patience_s=0.5))

    async def check(door):
        async def away(fn):
            if is_silent:
                await asyncio.Event().wait()
            raise UnavailableError("away")

        other = keys.new_prefix()
        text = keys.new_key(other)
        digest = keys.digest_of(keys.read_pepper(door.config.server), text)
        await door.database.run(lambda connection: add_key(connection, replace(door.key, prefix=other, digest=digest)))
        assert (await door.enter()).tenant == "team"
        run, door.database.run = door.database.run, away
        door.clock.now += KEPT_S
        assert (await door.enter()).tenant == "team"
        with pytest.raises(AuthenticationError):
            await door.enter(door.text[:-1] + ("0" if door.text[-1] != "0" else "1"))
        with pytest.raises(UnavailableError):
            await door.enter(text)
        door.clock.now += AWAY_S
        with pytest.raises(UnavailableError):
            await door.enter()
        door.database.run = run
        door.clock.now += KEPT_S
        assert (await door.enter(text)).tenant == (await door.enter()).tenant == "team"

    at_door(tmp_path, check)


def test_unknown_prefix_takes_the_same_way_as_a_wrong_secret(tmp_path, monkeypatch):
    """The same digest and the same two comparisons, so that the time tells nothing."""
    work = []

    def compare(left, right):
        work.append((len(left), len(right)))
        return left == right

    async def use(door):
        monkeypatch.setattr(keys.hmac, "compare_digest", compare)
        found = []
        for text in (keys.new_key(door.key.prefix), WRONG):
            work.clear()
            with pytest.raises(AuthenticationError):
                await door.enter(text)
            found.append(list(work))
        assert found[0] == found[1] == [(32, 32), (32, 32)]

    at_door(tmp_path, use)


def test_addresses_of_one_ipv6_network_count_together():
    """A client has a whole /64 to itself; IPv4 written as IPv6 is IPv4."""
    failures = Failures(2, Clock())
    failures.add("2001:db8:1:2::1")
    failures.add("2001:db8:1:2:ffff::9")
    assert failures.wait_s("2001:db8:1:2:3::4") > 0
    assert failures.wait_s("2001:db8:1:3::1") == 0
    failures.add("198.51.100.1")
    failures.add("::ffff:198.51.100.1")
    assert failures.wait_s("198.51.100.1") > 0
    assert failures.wait_s("::ffff:198.51.100.2") == 0


def test_clock_set_back_keeps_no_address_waiting():
    """For longer than the minute that it had to wait anyway."""
    clock = Clock(10_000.0)
    failures = Failures(1, clock)
    failures.add(ADDRESS)
    clock.now = 0.0
    assert failures.wait_s(ADDRESS) == 0
