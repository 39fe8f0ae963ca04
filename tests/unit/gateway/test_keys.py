"""API keys: what is kept of them cannot be used, and none but the right one opens anything."""

from __future__ import annotations

import asyncio
import re
import stat
from dataclasses import replace

import pytest
from sqlalchemy import select

from tests.unit.gateway.clock import Clock
from trident.errors import AuthenticationError, NotFoundError, SettingsError
from trident.gateway.config import Server
from trident.gateway.database import Database
from trident.gateway.identity import Limits
from trident.gateway.key_ring import KEPT_S, KeyRing
from trident.gateway.key_table import add_key, api_keys, find_key, list_keys, revoke_key, rotate_key
from trident.gateway.keys import ApiKey, digest_of, is_right, new_key, new_prefix, prefix_of, read_pepper

PEPPER = b"p" * 32
NOW = 1_800_000_000.0


def made(text=None, **values):
    """A key as it is kept, and itself."""
    prefix = new_prefix()
    text = text or new_key(prefix)
    key = ApiKey(prefix_of(text), "team", "a name", digest_of(PEPPER, text), NOW)
    return replace(key, **values), text


def with_database(tmp_path, function):
    """`function(database)` on an open one."""

    async def use():
        database = Database(f"sqlite:///{tmp_path}/gateway.db")
        await database.start()
        try:
            return await function(database)
        finally:
            await database.close()

    return asyncio.run(use())


def test_key_has_256_bits_that_are_secret():
    """And says by its form what it is, for who scans code for secrets."""
    keys = {new_key(new_prefix()) for _ in range(100)}
    assert len(keys) == 100
    assert all(re.fullmatch(r"tri_[0-9a-f]{12}_[0-9a-f]{64}", key) for key in keys)


@pytest.mark.parametrize(
    "text", ["", "tri_", "tri_0123456789ab", "tri_0123456789ab_", "sk-" + "a" * 40, "tri_0123456789AB_" + "0" * 64]
)
def test_what_has_not_the_form_of_a_key_has_no_prefix(text):
    """So that the database is not asked for it."""
    assert prefix_of(text) is None


def test_only_the_whole_key_is_right():
    """Not another secret with its prefix, not another pepper, not its digest."""
    key, text = made()
    assert is_right(key, digest_of(PEPPER, text), NOW)
    assert not is_right(key, digest_of(PEPPER, new_key(key.prefix)), NOW)
    assert not is_right(key, digest_of(b"q" * 32, text), NOW)
    assert not is_right(key, text.encode()[:32], NOW)
    assert not is_right(None, digest_of(PEPPER, text), NOW)


def test_nothing_matches_where_there_is_no_previous_secret():
    """The digest that stands in for it opens nothing."""
    key, _ = made()
    assert not is_right(key, bytes(32), NOW)
    assert not is_right(None, bytes(32), NOW)


def test_expired_and_revoked_keys_are_wrong():
    """From the very second on."""
    key, text = made(expires_at=NOW + 10)
    digest = digest_of(PEPPER, text)
    assert is_right(key, digest, NOW + 9.9)
    assert not is_right(key, digest, NOW + 10)
    assert not is_right(replace(key, revoked_at=NOW), digest, NOW)


def test_secret_before_a_rotation_is_good_for_the_grace_period():
    """And not a second longer; the one after it at once."""
    old_key, old = made()
    new = new_key(old_key.prefix)
    key = replace(old_key, digest=digest_of(PEPPER, new), previous_digest=old_key.digest, previous_until=NOW + 60)
    assert is_right(key, digest_of(PEPPER, new), NOW)
    assert is_right(key, digest_of(PEPPER, old), NOW + 59)
    assert not is_right(key, digest_of(PEPPER, old), NOW + 60)
    assert is_right(key, digest_of(PEPPER, new), NOW + 60)


def test_every_field_survives_the_table(tmp_path):
    """Also what is empty, which is not the same as none."""
    key, _ = made(models=frozenset(), endpoints=frozenset({"chat", "admin"}), limits=Limits(daily_budget=2.5))
    plain, _ = made()

    async def use(database):
        await database.run(lambda connection: add_key(connection, key))
        await database.run(lambda connection: add_key(connection, plain))
        return [await database.run(lambda connection, p=p: find_key(connection, p)) for p in (key.prefix, plain.prefix)]

    assert with_database(tmp_path, use) == [key, plain]


def test_table_holds_no_secret(tmp_path):
    """Whoever reads the database cannot use a key."""
    key, text = made()

    async def use(database):
        await database.run(lambda connection: add_key(connection, key))
        return await database.run(lambda connection: [tuple(row) for row in connection.execute(select(api_keys))])

    kept = repr(with_database(tmp_path, use))
    assert text.split("_")[2] not in kept
    assert key.prefix in kept


def test_keys_are_listed_by_tenant_and_revoked_once(tmp_path):
    """The time of the first revocation stays."""
    first, _ = made()
    second, _ = made(tenant="other", created_at=NOW + 1)

    async def use(database):
        for key in (second, first):
            await database.run(lambda connection, key=key: add_key(connection, key))
        assert await database.run(list_keys) == [first, second]
        assert await database.run(lambda connection: list_keys(connection, "other")) == [second]
        for now in (NOW + 5, NOW + 6):
            revoked = await database.run(lambda connection, now=now: revoke_key(connection, first.prefix, now))
            assert (revoked.revoked_at, revoked.state(now)) == (NOW + 5, "revoked")

    with_database(tmp_path, use)


def test_unknown_and_revoked_keys_are_refused_by_name(tmp_path):
    """With the nearest there is; a revoked key does not come back by a rotation."""
    key, _ = made()

    async def use(database):
        await database.run(lambda connection: add_key(connection, key))
        wrong = key.prefix[:-1] + ("0" if key.prefix[-1] != "0" else "1")
        with pytest.raises(NotFoundError, match=f"did you mean '{key.prefix}'"):
            await database.run(lambda connection: revoke_key(connection, wrong, NOW))
        await database.run(lambda connection: revoke_key(connection, key.prefix, NOW))
        with pytest.raises(NotFoundError, match="revoked"):
            await database.run(lambda connection: rotate_key(connection, key.prefix, b"x" * 32, NOW))

    with_database(tmp_path, use)


def test_key_is_looked_up_once_in_a_few_seconds_and_stops_soon_after_it_is_revoked(tmp_path):
    """`KEPT_S` is how long a revoked key goes on at most."""
    key, text = made()
    clock = Clock()

    async def use(database):
        await database.run(lambda connection: add_key(connection, key))
        ring = KeyRing(database, PEPPER, clock, lambda: NOW)
        assert await ring.key_of(text) == key
        await database.run(lambda connection: revoke_key(connection, key.prefix, NOW))
        clock.now = KEPT_S - 0.1
        assert await ring.key_of(text) == key
        clock.now = KEPT_S
        with pytest.raises(AuthenticationError):
            await ring.key_of(text)

    with_database(tmp_path, use)


def test_unknown_wrong_and_malformed_keys_are_refused_alike(tmp_path):
    """One text for all, which does not say what was wrong; a key made a moment later works in a few seconds."""
    key, text = made()
    clock = Clock()

    async def use(database):
        ring = KeyRing(database, PEPPER, clock, lambda: NOW)
        messages = set()
        for shown in (text, new_key(key.prefix), "nonsense"):
            with pytest.raises(AuthenticationError) as refusal:
                await ring.key_of(shown)
            messages.add(refusal.value.message)
        assert len(messages) == 1
        await database.run(lambda connection: add_key(connection, key))
        clock.now += KEPT_S
        assert await ring.key_of(text) == key

    with_database(tmp_path, use)


def test_pepper_is_made_once_for_its_owner_only(tmp_path):
    """Every process of the gateway reads the same."""
    server = Server(data=tmp_path / "data")
    pepper = read_pepper(server)
    assert len(pepper) == 64
    assert read_pepper(server) == pepper
    assert stat.S_IMODE((tmp_path / "data" / "pepper").stat().st_mode) == 0o600
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["pepper"]


def test_pepper_file_must_be_there_and_long_enough(tmp_path):
    """A name that is mistyped must not make a new pepper, which no key would fit."""
    with pytest.raises(SettingsError, match="pepper_file"):
        read_pepper(Server(data=tmp_path, pepper_file=tmp_path / "nowhere"))
    (tmp_path / "short").write_text("secret\n")
    with pytest.raises(SettingsError, match="holds 6 bytes"):
        read_pepper(Server(data=tmp_path, pepper_file=tmp_path / "short"))
