"""What keeps tenants apart in an engine's prefix cache: how soon an answer begins tells nobody what others have asked.

It does not know which engines take a salt: the gateway's file says so, deployment by deployment.
"""

from __future__ import annotations

import hmac
import json
from dataclasses import replace
from hashlib import sha256

from trident.gateway.config import Server
from trident.gateway.keys import read_pepper
from trident_client.sampling import Sampling

_PURPOSE = b"cache_salt "  # no API key begins like this, so no salt is the digest of one
_SALT_CHARS = 32  # of hex digits: 128 bits


class TenantSalts:
    """Made of the tenant's name with the secret that keys are hashed with, so that no client can make another's."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._secret: bytes | None = None

    def salted(self, sampling: Sampling, tenant: str) -> Sampling:
        """With the tenant's `cache_salt`; one that the client sent divides the tenant's own part of the cache further.

        Raises:
            SettingsError: the secret cannot be read.
        """
        if self._secret is None:
            self._secret = read_pepper(self._server)
        name = json.dumps([tenant, sampling.cache_salt or ""]).encode()  # as JSON, so that no two pairs read alike
        digest = hmac.digest(self._secret, _PURPOSE + name, sha256)
        return replace(sampling, cache_salt=digest.hex()[:_SALT_CHARS])
