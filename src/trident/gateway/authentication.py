"""From a request's headers to an identity: the gateway's own keys, then the identity provider's tokens."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from trident.errors import AuthenticationError, RateLimitError
from trident.gateway.config import GatewayConfig, Tenant
from trident.gateway.database import Database
from trident.gateway.failures import Failures
from trident.gateway.identity import ANONYMOUS, Identity, Limits
from trident.gateway.jwt import TokenVerifier
from trident.gateway.key_ring import KeyRing
from trident.gateway.keys import read_pepper

_MAX_CREDENTIAL_BYTES = 8192
_WAYS = ("authorization", "api-key", "x-api-key")


class Authenticator:
    """Knows the keys; throttles who guesses. `clock`: for what is kept and throttled; `wall`: for expiry."""

    def __init__(
        self,
        config: GatewayConfig,
        database: Database,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._config = config
        self._database = database
        self._clock = clock
        self._wall = wall
        self._failures = Failures(config.auth.max_failures_per_minute, clock)
        self._tokens = None if config.auth.jwt is None else TokenVerifier(config.auth.jwt, clock, wall)
        self._keys: KeyRing | None = None

    async def start(self) -> None:
        """Read the pepper and the identity provider's keys.

        Raises:
            SettingsError: one of them cannot be read.
        """
        self._keys = KeyRing(self._database, read_pepper(self._config.server), self._clock, self._wall)
        if self._tokens is not None:
            await self._tokens.start()

    def update(self, config: GatewayConfig) -> None:
        """The file was rewritten: tenants and limits follow."""
        self._config = config

    async def authenticate(self, headers: Mapping[str, str], address: str) -> Identity:
        """Who asks. `headers` in lower case: `authorization: Bearer`, or `api-key`, `x-api-key`; `address`: the peer's.

        An address that failed too often waits, but for a key that was right a while ago: a client with an old key does
        not stop the others behind the same address.

        Raises:
            AuthenticationError: no key, or one that is unknown, expired or revoked; all alike.
            RateLimitError: too many wrong keys from this address.
        """
        is_required = self._config.auth.required
        credential = credential_of(headers, is_required)
        if credential is None or (not is_required and not self._is_ours(credential)):
            if is_required:
                raise AuthenticationError("the request carries no API key; send it as 'authorization: Bearer <key>'")
            return self._anonymous()
        wait_s = self._failures.wait_s(address)
        if wait_s and not self._has_seen(credential):
            raise _too_many(wait_s)
        try:
            return await self._identity_of(credential)
        except AuthenticationError:
            self._failures.add(address)
            if wait_s:
                raise _too_many(wait_s) from None
            raise

    def _is_ours(self, credential: str) -> bool:
        """Whether it looks like a key or a token; others are not looked at where no key is asked for."""
        return credential.startswith("tri_") or self._is_token(credential)

    def _is_token(self, credential: str) -> bool:
        return self._tokens is not None and credential.count(".") == 2

    def _has_seen(self, credential: str) -> bool:
        if self._tokens is not None and self._is_token(credential):
            return self._tokens.has_seen(credential)
        return self._keys is not None and self._keys.has_seen(credential)

    async def _identity_of(self, credential: str) -> Identity:
        if self._tokens is not None and self._is_token(credential):
            claims = await self._tokens.claims_of(credential)
            return self.identity(claims.tenant, claims.subject, claims.models, claims.endpoints)
        if self._keys is None:
            raise RuntimeError("the authenticator was not started")
        key = await self._keys.key_of(credential)
        return self.identity(key.tenant, key.prefix, key.models, key.endpoints, key.limits)

    def identity(
        self,
        tenant: str,
        key_id: str,
        models: frozenset[str] | None = None,
        endpoints: frozenset[str] | None = None,
        limits: Limits | None = None,
    ) -> Identity:
        """With what the file says of the tenant. `limits`: the key's own; None: the file's for keys without."""
        of_tenant = self._config.tenants.get(tenant)
        return Identity(
            tenant,
            key_id,
            models,
            endpoints,
            groups=frozenset() if of_tenant is None else of_tenant.groups,
            key_limits=self._config.limits if limits is None else limits,
            tenant_limits=self._limits_of(of_tenant),
        )

    def _limits_of(self, tenant: Tenant | None) -> Limits:
        """Its own where the file gives it any, be they empty: that is how a tenant has none."""
        return tenant.limits if tenant is not None and "limits" in tenant.model_fields_set else self._config.limits

    def _anonymous(self) -> Identity:
        return self.identity(ANONYMOUS.tenant, ANONYMOUS.key_id, limits=Limits())


def credential_of(headers: Mapping[str, str], is_required: bool = True) -> str | None:
    """The key or token that a request carries, whichever way; None: none.

    Raises:
        AuthenticationError: several that differ, one that is too long, or an `authorization` that is not `Bearer`.
    """
    found = set()
    for name, value in headers.items():  # every line of a header that is sent twice
        if name not in _WAYS:
            continue
        text = value.strip()
        if name == "authorization":
            scheme, _, text = text.partition(" ")
            if scheme.lower() != "bearer":
                if is_required:
                    raise AuthenticationError("'authorization' must be 'Bearer <key>'")
                continue
        found.add(text.strip())
    found.discard("")
    if len(found) > 1:
        raise AuthenticationError("the request carries several keys that differ; send one")
    credential = next(iter(found), None)
    if credential is not None and len(credential) > _MAX_CREDENTIAL_BYTES:
        raise AuthenticationError(f"the key is longer than {_MAX_CREDENTIAL_BYTES} bytes")
    return credential


def _too_many(wait_s: float) -> RateLimitError:
    return RateLimitError("too many wrong keys from this address; wait before the next", retry_after_s=wait_s)
