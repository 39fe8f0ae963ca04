"""Tokens of an identity provider: only those that it signed for this gateway, now, say who asks."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import time
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import ECKey, KeySet, OctKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry
from joserfc.jwt import encode
from pydantic import ValidationError

from tests.unit.gateway.clock import Clock
from trident.errors import AuthenticationError, RateLimitError, SettingsError
from trident.gateway.authentication import Authenticator
from trident.gateway.config import Jwt
from trident.gateway.config_file import parse_config
from trident.gateway.database import Database
from trident.gateway.jwt import TokenVerifier

NOW = 1_800_000_000
RSA = RSAKey.generate_key(2048, {"kid": "rsa", "use": "sig"})
EC = ECKey.generate_key("P-256", {"kid": "ec"})
ED = OKPKey.generate_key("Ed25519", {"kid": "ed"})
FOREIGN = RSAKey.generate_key(2048, {"kid": "rsa"})
CLAIMS = {"iss": "https://id.example", "aud": "gateway", "sub": "ann", "exp": NOW + 600, "tenant": "team"}


class Provider:
    """Gives its keys out, and counts how often."""

    def __init__(self, *keys):
        self.keys = keys
        self.num_reads = 0

    async def __call__(self):
        self.num_reads += 1
        return json.dumps(KeySet(list(self.keys)).as_dict(private=False)).encode()


def jwt_config(**values):
    return Jwt(issuer="https://id.example", audience="gateway", jwks_url="https://id.example/keys", **values)


def token(key=RSA, alg="RS256", header=None, **claims):
    kept = {name: value for name, value in {**CLAIMS, **claims}.items() if value is not None}
    registry = JWSRegistry(algorithms=["RS256", "ES256", "Ed25519", "HS256", "none"], strict_check_header=False)
    return encode({"alg": alg, "kid": key.kid, **(header or {})}, kept, key, registry=registry)


def claims_of(text, provider=None, wall=NOW, **values):
    verifier = TokenVerifier(jwt_config(**values), Clock(), lambda: wall, provider or Provider(RSA, EC, ED))

    async def read():
        await verifier.start()
        return await verifier.claims_of(text)

    return asyncio.run(read())


def assert_refused(text, **values):
    with pytest.raises(AuthenticationError, match="the token is not valid here"):
        claims_of(text, **values)


def part(value):
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


@pytest.mark.parametrize(("key", "alg"), [(RSA, "RS256"), (EC, "ES256"), (ED, "Ed25519")])
def test_token_of_the_provider_says_who_asks(key, alg):
    """By each kind of key that providers use."""
    found = claims_of(token(key, alg), algorithms=("RS256", "ES256", "Ed25519"))
    assert (found.tenant, found.subject, found.endpoints, found.models) == ("team", "ann", None, None)


def test_old_name_of_the_edwards_curve_is_taken_without_a_word():
    """Providers still send "EdDSA"; the warning of the library is not the operator's matter."""
    payload = f"{part({'alg': 'EdDSA', 'kid': 'ed'})}.{part(CLAIMS)}"
    signature = base64.urlsafe_b64encode(ED.private_key.sign(payload.encode())).rstrip(b"=").decode()
    assert claims_of(f"{payload}.{signature}").subject == "ann"


@pytest.mark.parametrize(
    ("claims", "endpoints", "models"),
    [
        ({"scope": "openid chat admin"}, {"chat", "admin"}, None),
        ({"scope": ["chat", "embeddings"]}, {"chat", "embeddings"}, None),
        ({"scope": "openid profile"}, set(), None),
        ({"models": ["a", "b"]}, None, {"a", "b"}),
        ({"models": ""}, None, set()),
    ],
)
def test_claims_narrow_what_a_token_may(claims, endpoints, models):
    """A claim that is there and names nothing of ours opens nothing."""
    found = claims_of(token(**claims))
    assert found.endpoints == endpoints
    assert found.models == models


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://evil.example"},
        {"iss": None},
        {"aud": "another"},
        {"aud": ["another"]},
        {"aud": None},
        {"exp": NOW - 31},
        {"exp": None},
        {"exp": "soon"},
        {"exp": 10**400},
        {"nbf": NOW + 31},
        {"sub": None},
        {"sub": 7},
        {"tenant": None},
        {"tenant": ""},
        {"tenant": ["team"]},
        {"tenant": "x" * 129},
        {"tenant": "two\nlines"},
        {"scope": 7},
        {"models": {"a": 1}},
    ],
)
def test_token_for_others_or_another_time_is_refused(claims):
    """Every claim that decides is asked for and looked at."""
    assert_refused(token(**claims))


@pytest.mark.parametrize("claims", [{"exp": NOW - 29}, {"nbf": NOW + 29}, {"aud": ["another", "gateway"]}])
def test_clocks_may_differ_a_little_and_tokens_have_several_audiences(claims):
    """`leeway_s` is 30."""
    assert claims_of(token(**claims)).subject == "ann"


def test_key_of_somebody_else_is_refused():
    """Also where it calls itself by the right name."""
    assert_refused(token(FOREIGN))


def test_token_without_a_signature_is_refused():
    """ "alg": "none", in every spelling."""
    for alg in ("none", "None", "NONE"):
        assert_refused(f"{part({'alg': alg, 'kid': 'rsa'})}.{part(CLAIMS)}.")


def test_public_key_does_not_serve_as_a_shared_secret():
    """HS256 with the provider's public key as the secret, which everybody knows."""
    for secret in (RSA.as_pem(private=False), json.dumps(RSA.as_dict(private=False)).encode()):
        payload = f"{part({'alg': 'HS256', 'kid': 'rsa'})}.{part(CLAIMS)}"
        signature = base64.urlsafe_b64encode(hmac.digest(secret, payload.encode(), sha256)).rstrip(b"=").decode()
        assert_refused(f"{payload}.{signature}")


def test_shared_secret_in_the_key_set_is_not_used():
    """Nor a key that is for encryption."""
    oct_key = OctKey.generate_key(256, {"kid": "oct"})
    provider = Provider(RSA)
    set_with_secret = {"keys": [RSA.as_dict(private=False), oct_key.as_dict()]}

    async def read():
        return json.dumps(set_with_secret).encode()

    assert_refused(token(oct_key, "HS256"), provider=read)
    encryption = RSAKey.import_key(RSA.as_dict(private=True), {"kid": "enc", "use": "enc"})
    signing = RSAKey.import_key(RSA.as_dict(private=True), {"kid": "enc"})
    provider = Provider(EC, encryption)
    assert_refused(token(signing), provider=provider)


def test_algorithm_that_the_file_does_not_allow_is_refused():
    """However good the signature."""
    assert_refused(token(EC, "ES256"), algorithms=("RS256",))


@pytest.mark.parametrize("algorithm", ["none", "HS256", "HS512", "rs256"])
def test_file_cannot_allow_what_is_unsafe(algorithm):
    """Shared secrets and no signature are no choice."""
    with pytest.raises(ValidationError):
        jwt_config(algorithms=(algorithm,))


def test_file_needs_one_place_with_keys_and_https():
    """Who can change the keys on their way is the provider."""
    common = {"issuer": "i", "audience": "a"}
    for values in ({}, {"jwks_file": "a", "jwks_url": "https://b"}, {"jwks_url": "http://b"}):
        with pytest.raises(ValidationError):
            Jwt(**common, **values)


def test_token_without_a_key_id_needs_a_single_key():
    """Otherwise which one it means is a guess."""
    header = {"alg": "RS256"}
    signed = f"{part(header)}.{part(CLAIMS)}"
    signature = RSA.private_key.sign(signed.encode(), PKCS1v15(), SHA256())
    plain = f"{signed}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"
    assert claims_of(plain, provider=Provider(RSA)).subject == "ann"
    assert_refused(plain, provider=Provider(RSA, EC))


@given(st.text(max_size=200) | st.text(max_size=60).map(lambda text: f"{text}.{text}.{text}"))
def test_any_text_is_refused_and_never_a_failure(text):
    """Whatever a client sends as a token."""
    with pytest.raises(AuthenticationError):
        asyncio.run(TokenVerifier(jwt_config(), Clock(), lambda: NOW, Provider(RSA)).claims_of(text))


def test_any_changed_byte_is_refused():
    """Of header, claims and signature."""
    good = token(EC, "ES256")
    for number in range(0, len(good), 7):
        changed = good[:number] + ("A" if good[number] != "A" else "B") + good[number + 1 :]
        assert_refused(changed)


def test_keys_are_read_again_when_a_new_one_appears_but_once_a_minute():
    """A provider that changes its keys needs no restart; made-up key ids do not make us ask it each time."""
    clock, provider = Clock(), Provider(RSA)
    verifier = TokenVerifier(jwt_config(), clock, lambda: NOW, provider)

    async def use():
        await verifier.start()
        provider.keys = (RSA, EC)
        with pytest.raises(AuthenticationError):
            await verifier.claims_of(token(EC, "ES256"))
        assert provider.num_reads == 1
        clock.now = 60
        assert await verifier.claims_of(token(EC, "ES256"))
        for number in range(20):
            with pytest.raises(AuthenticationError):
                await verifier.claims_of(token(RSAKey.import_key(RSA.as_dict(private=True), {"kid": f"k{number}"})))
        assert provider.num_reads == 2

    asyncio.run(use())


def test_key_that_was_withdrawn_stops_within_the_hour():
    """Without any new one."""
    clock, provider = Clock(), Provider(RSA, EC)
    verifier = TokenVerifier(jwt_config(), clock, lambda: NOW, provider)

    async def use():
        await verifier.start()
        assert await verifier.claims_of(token(EC, "ES256"))
        provider.keys = (RSA,)
        clock.now = 3600
        with pytest.raises(AuthenticationError):
            await verifier.claims_of(token(EC, "ES256"))

    asyncio.run(use())


def test_token_that_was_right_ends_when_it_expires():
    """Though it is not looked at each time."""
    wall = Clock(NOW)
    verifier = TokenVerifier(jwt_config(), Clock(), wall, Provider(RSA))

    async def use():
        text = token(exp=NOW + 5)
        assert await verifier.claims_of(text)
        wall.now = NOW + 34
        assert await verifier.claims_of(text)
        wall.now = NOW + 36  # libraries differ on whether the last second counts
        with pytest.raises(AuthenticationError):
            await verifier.claims_of(text)

    asyncio.run(use())


def test_provider_that_does_not_answer_is_asked_again_later():
    """The gateway starts without it, and its own keys work."""
    clock, provider = Clock(), Provider(RSA)

    async def fail():
        raise OSError("no route to host")

    async def read():
        return await (fail() if clock.now < 60 else provider())

    verifier = TokenVerifier(jwt_config(), clock, lambda: NOW, read)

    async def use():
        await verifier.start()
        with pytest.raises(AuthenticationError):
            await verifier.claims_of(token())
        clock.now = 60
        assert await verifier.claims_of(token())

    asyncio.run(use())


@pytest.mark.parametrize("text", [None, "", "[]", "{}", '{"keys": []}', '{"keys": [7]}'])
def test_key_file_that_cannot_be_read_is_the_operators_mistake(tmp_path, text):
    """At the start, by its name."""
    path = tmp_path / "keys.json"
    if text is not None:
        path.write_text(text)
    config = Jwt(issuer="i", audience="a", jwks_file=path)
    with pytest.raises(SettingsError, match=r"auth\.jwt\.jwks_file"):
        asyncio.run(TokenVerifier(config).start())


def test_token_opens_the_gateway_with_its_tenants_limits(tmp_path):
    """From the key file to the identity; a wrong one counts as a guess."""
    path = tmp_path / "keys.json"
    path.write_text(json.dumps(KeySet([RSA]).as_dict(private=False)))
    values = {
        "deployments": {"a": {"url": "host:1"}},
        "models": {"m": {"deployments": {"a": 1}}},
        "server": {"data": str(tmp_path)},
        "auth": {
            "max_failures_per_minute": 1,
            "jwt": {"issuer": "https://id.example", "audience": "gateway", "jwks_file": str(path)},
        },
        "tenants": {"team": {"groups": ["beta"], "limits": {"requests_per_minute": 5}}},
    }

    async def use():
        database = Database(f"sqlite:///{tmp_path}/gateway.db")
        await database.start()
        authenticator = Authenticator(parse_config(values, environ={}), database)
        await authenticator.start()
        good = {"authorization": "Bearer " + token(exp=time.time() + 60, scope="chat")}
        identity = await authenticator.authenticate(good, "203.0.113.7")
        assert (identity.tenant, identity.key_id, identity.endpoints) == ("team", "ann", {"chat"})
        assert (identity.groups, identity.tenant_limits.requests_per_minute) == ({"beta"}, 5)
        bad = {"authorization": "Bearer " + token(FOREIGN)}
        with pytest.raises(AuthenticationError):
            await authenticator.authenticate(bad, "203.0.113.7")
        with pytest.raises(RateLimitError):
            await authenticator.authenticate(bad, "203.0.113.7")
        assert await authenticator.authenticate(good, "203.0.113.7")
        await database.close()

    asyncio.run(use())
