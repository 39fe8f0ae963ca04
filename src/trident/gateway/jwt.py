"""An identity provider's tokens (JWT, RFC 7519): signature, issuer, audience, time; who it speaks of and what they may.

Only the algorithms that the file allows are taken, none of which uses a shared secret, and only keys of the provider's
own set: "alg": "none" and a public key used as an HMAC secret fail there. It knows no tenants' limits.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
import warnings
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, get_args

import httpx
from joserfc import jws
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import KeySet, OctKey
from joserfc.jwt import JWTClaimsRegistry, decode

from trident.errors import AuthenticationError, SettingsError
from trident.gateway.config import Jwt
from trident.gateway.identity import Endpoint

_log = logging.getLogger(__name__)
_REFUSAL = "the token is not valid here"
_REREAD_S = 60.0  # at most, when a token names a key that is not known
_MAX_AGE_S = 3600.0  # of the key set, so that a key that was withdrawn goes
_KEPT_S = 60.0  # how long a token that was right is not looked at again
_MAX_KEPT = 10_000
_MAX_NAME_BYTES = 128
_MAX_JWKS_BYTES = 1 << 20
_FETCH_TIMEOUT_S = 5.0
# What reading a key set raises, whatever is wrong with it.
_UNREADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError, JoseError, httpx.HTTPError)

Fetch = Callable[[], Awaitable[bytes]]


@dataclass(frozen=True, slots=True)
class TokenClaims:
    """What the gateway takes from a token. `endpoints`, `models`: None where it has no such claim."""

    tenant: str
    subject: str
    endpoints: frozenset[str] | None
    models: frozenset[str] | None
    expires_at: float


class TokenVerifier:
    """Of one provider. `clock`: for what is kept; `wall`: for the tokens' times; `fetch`: reads the keys."""

    def __init__(
        self,
        config: Jwt,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        fetch: Fetch | None = None,
    ) -> None:
        self._config = config
        self._clock = clock
        self._wall = wall
        self._fetch: Fetch = (lambda: _read_keys(config)) if fetch is None else fetch
        self._registry = jws.JWSRegistry(algorithms=list(config.algorithms), strict_check_header=False)
        self._keys: dict[str | None, Any] = {}
        self._read_at: float | None = None
        self._reading = asyncio.Lock()
        self._kept: dict[bytes, tuple[float, TokenClaims]] = {}

    async def start(self) -> None:
        """Read the keys.

        Raises:
            SettingsError: `jwks_file` cannot be read. An address that does not answer is asked again later.
        """
        try:
            await self._read(self._clock())
        except _UNREADABLE as exc:
            if self._config.jwks_file is not None:
                raise SettingsError(f"auth.jwt.jwks_file: {self._config.jwks_file}: {exc}") from exc
            _log.warning("the identity provider's keys cannot be read: %s", exc)

    async def claims_of(self, token: str) -> TokenClaims:
        """What it says.

        Raises:
            AuthenticationError: not signed by the provider, not for this gateway, not yet or no longer good, or it does
                not say whose it is.
        """
        name = sha256(token.encode()).digest()
        now, wall = self._clock(), self._wall()
        kept = self._kept.get(name)
        if kept is not None and 0 <= now - kept[0] < _KEPT_S and wall < kept[1].expires_at + self._config.leeway_s:
            return kept[1]
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", SecurityWarning)  # "EdDSA" has a newer name, and is as good
                claims = self._verified(token, await self._key_of(token))
        except (JoseError, ValueError, KeyError, TypeError, OverflowError) as exc:
            _log.info("a token was refused: %s", type(exc).__name__)
            raise AuthenticationError(_REFUSAL) from exc
        self._kept.pop(name, None)
        self._kept[name] = (now, claims)
        if len(self._kept) > _MAX_KEPT:
            del self._kept[next(iter(self._kept))]
        return claims

    def has_seen(self, token: str) -> bool:
        """Whether it was right a while ago."""
        return sha256(token.encode()).digest() in self._kept

    def _verified(self, token: str, key: Any) -> TokenClaims:
        read = decode(token, key, registry=self._registry)
        config = self._config
        JWTClaimsRegistry(
            now=int(self._wall()),
            leeway=config.leeway_s,
            iss={"essential": True, "value": config.issuer},
            aud={"essential": True, "value": config.audience},
            exp={"essential": True},
            sub={"essential": True},
        ).validate(read.claims)
        scopes = _names(read.claims.get(config.scope_claim))
        return TokenClaims(
            tenant=_name(read.claims.get(config.tenant_claim)),
            subject=_name(read.claims["sub"]),
            endpoints=None if scopes is None else scopes & frozenset(get_args(Endpoint)),
            models=_names(read.claims.get(config.models_claim)),
            expires_at=float(read.claims["exp"]),
        )

    async def _key_of(self, token: str) -> Any:
        """The key that the token names; the only one where it names none. Raises KeyError: there is none such."""
        header = jws.extract_compact(token.encode(), registry=self._registry).headers()
        if header["alg"] not in self._config.algorithms:
            raise ValueError(f"algorithm {header['alg']!r} is not allowed")
        kid = header.get("kid")
        now = self._clock()
        age = None if self._read_at is None else now - self._read_at
        if age is None or not 0 <= age < _MAX_AGE_S or (not self._has(kid) and age >= _REREAD_S):
            await self._read_again(now)
        if kid is None and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        return self._keys[kid]

    def _has(self, kid: str | None) -> bool:
        return kid in self._keys or (kid is None and len(self._keys) == 1)

    async def _read_again(self, now: float) -> None:
        before = self._read_at
        async with self._reading:
            if self._read_at != before:
                return  # while this one waited
            try:
                await self._read(now)
            except _UNREADABLE as exc:
                _log.warning("the identity provider's keys cannot be read: %s", exc)

    async def _read(self, now: float) -> None:
        self._read_at = now  # also where it fails: not more than once a minute
        found = KeySet.import_key_set(json.loads(await self._fetch()))
        self._keys = {key.kid: key for key in found if not isinstance(key, OctKey) and key.get("use") != "enc"}


async def _read_keys(config: Jwt) -> bytes:
    if config.jwks_file is not None:
        return await asyncio.to_thread(config.jwks_file.read_bytes)
    found = bytearray()
    async with (
        httpx.AsyncClient(timeout=_FETCH_TIMEOUT_S, follow_redirects=False) as client,
        client.stream("GET", str(config.jwks_url)) as response,
    ):
        response.raise_for_status()
        async for chunk in response.aiter_bytes():
            found += chunk
            if len(found) > _MAX_JWKS_BYTES:
                raise ValueError(f"longer than {_MAX_JWKS_BYTES} bytes")
    return bytes(found)


def _name(value: Any) -> str:
    """A tenant or a subject: text that a log line and a table can hold."""
    if not isinstance(value, str) or not value.isprintable() or not 0 < len(value.encode()) <= _MAX_NAME_BYTES:
        raise ValueError(f"names are texts of 1 to {_MAX_NAME_BYTES} bytes")
    return value


def _names(value: Any) -> frozenset[str] | None:
    """A claim with several: a list of texts, or one text with spaces between them (RFC 8693)."""
    if value is None:
        return None
    names = value.split() if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError("neither a text nor a list of texts")
    return frozenset(names)
