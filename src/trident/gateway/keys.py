"""The gateway's API keys: their form, what is kept of them, and whether one that is shown is right.

`tri_<12 hex digits, public>_<64 hex digits, secret>`. Only an HMAC of a key is kept, made with a pepper that is not in
the database, so that who reads the database can neither use a key nor try guesses. It knows no SQL (`key_table.py`).
"""

from __future__ import annotations

import hmac
import os
import re
import secrets
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from trident.errors import SettingsError
from trident.gateway.config import Server
from trident.gateway.identity import Limits

PREFIX_PATTERN = re.compile(r"[0-9a-f]{12}")
_KEY_PATTERN = re.compile(r"tri_([0-9a-f]{12})_[0-9a-f]{64}")
_MIN_PEPPER_BYTES = 32
_NO_DIGEST = bytes(32)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What is kept of a key. Times in seconds since 1970."""

    prefix: str
    tenant: str
    name: str  # for people
    digest: bytes
    created_at: float
    models: frozenset[str] | None = None  # None: all
    endpoints: frozenset[str] | None = None  # None: all but "admin"
    limits: Limits | None = None  # None: the file's
    expires_at: float | None = None
    revoked_at: float | None = None
    previous_digest: bytes | None = None  # of the secret before a rotation, good until `previous_until`
    previous_until: float | None = None

    def state(self, now: float) -> str:
        """For people: "active", "expired" or "revoked"."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= now else "active"


# Compared with where there is no such key, so that this takes as long.
_NOBODY = ApiKey("", "", "", _NO_DIGEST, 0.0)


def new_prefix() -> str:
    """The public part of a key."""
    return secrets.token_hex(6)


def new_key(prefix: str) -> str:
    """A key with 256 bits of its own."""
    return f"tri_{prefix}_{secrets.token_hex(32)}"


def prefix_of(text: str) -> str | None:
    """The public part of what has the form of a key."""
    match = _KEY_PATTERN.fullmatch(text)
    return None if match is None else match[1]


def digest_of(pepper: bytes, text: str) -> bytes:
    """What is kept of a key."""
    return hmac.digest(pepper, text.encode(), sha256)


def is_right(key: ApiKey | None, digest: bytes, now: float) -> bool:
    """Whether it is that of `key`, which is neither expired nor revoked. Takes as long where there is no key."""
    known = _NOBODY if key is None else key
    is_current = hmac.compare_digest(known.digest, digest)
    is_previous = hmac.compare_digest(known.previous_digest or _NO_DIGEST, digest)
    is_in_grace = known.previous_until is not None and now < known.previous_until
    is_active = known.state(now) == "active"
    return (key is not None) & (is_current | (is_previous & is_in_grace)) & is_active


def read_pepper(server: Server) -> bytes:
    """The secret that keys are hashed with: `pepper_file`, or one in `data` that is made with mode 600.

    Raises:
        SettingsError: it cannot be read or made, or is shorter than 32 bytes.
    """
    path = server.pepper_file or server.data / "pepper"
    try:
        if server.pepper_file is None:
            _make_once(path)
        pepper = path.read_bytes().strip()
    except OSError as exc:
        raise SettingsError(f"server.pepper_file: cannot read {path}: {exc.strerror}") from exc
    if len(pepper) < _MIN_PEPPER_BYTES:
        raise SettingsError(
            f"server.pepper_file: {path} holds {len(pepper)} bytes, at least {_MIN_PEPPER_BYTES} needed"
        )
    return pepper


def _make_once(path: Path) -> None:
    """Whole or not at all, and the first one wins where two processes start at once."""
    if path.exists():
        return
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".pepper-{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(32) + "\n")
        os.link(draft, path)
    except FileExistsError:
        pass  # another process was first
    finally:
        draft.unlink()
