"""What the options of `trident keys` mean; every mistake is named with the option that it is in."""

from __future__ import annotations

import math
import re
from datetime import datetime, timezone
from typing import TYPE_CHECKING, get_args

from trident.errors import SettingsError, did_you_mean

if TYPE_CHECKING:
    from trident.gateway.config import GatewayConfig
    from trident.gateway.identity import Limits

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_DURATION = re.compile(r"(\d{1,5})([smhd])")
_MAX_NAME_BYTES = 128


def limits_of(requests: int | None, tokens: int | None, concurrent: int | None, budget: float | None) -> Limits | None:
    """None where no option is given: then the file's hold."""
    from trident.gateway.identity import Limits

    if budget is not None and not 0 < budget < math.inf:
        raise SettingsError(f"--daily-budget must be above 0 and finite, not {budget:g}")
    if requests is tokens is concurrent is budget is None:
        return None
    return Limits(
        requests_per_minute=requests, tokens_per_minute=tokens, concurrent_requests=concurrent, daily_budget=budget
    )


def models_of(text: str | None, config: GatewayConfig) -> frozenset[str] | None:
    """Names and aliases of the file; None: all."""
    known = {*config.models, *(alias for route in config.models.values() for alias in route.aliases)}
    return _known_names(text, "--models", known)


def endpoints_of(text: str | None, is_admin: bool) -> frozenset[str] | None:
    """None: all but "admin"."""
    from trident.gateway.identity import Endpoint

    named = _known_names(text, "--endpoints", set(get_args(Endpoint)))
    if not is_admin:
        return named
    return frozenset(get_args(Endpoint)) if named is None else named | {"admin"}


def _known_names(text: str | None, option: str, known: set[str]) -> frozenset[str] | None:
    if text is None:
        return None
    names = frozenset(name.strip() for name in text.split(",") if name.strip())
    for name in sorted(names - known):
        raise SettingsError(
            f"{option}: there is no '{name}'{did_you_mean(name, known)}; known: {', '.join(sorted(known))}"
        )
    return names


def moment_of(text: str, now: float, option: str) -> float:
    """Seconds since 1970: so long from `now`, or the beginning of a day in UTC."""
    if match := _DURATION.fullmatch(text):
        return now + int(match[1]) * _UNITS_S[match[2]]
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise SettingsError(
            f"{option}: '{text}' is neither a time (90d, 12h, 30m, 10s) nor a day (2027-01-31)"
        ) from None
    seconds = (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()
    if seconds <= now:
        raise SettingsError(f"{option}: {text} is in the past")
    return seconds


def public_part_of(text: str) -> str:
    """Of a prefix, however it is written; of a whole key too, which should not stand in a shell's history."""
    public = text.removeprefix("tri_").partition("_")[0]
    if not re.fullmatch(r"[0-9a-f]{12}", public):
        raise SettingsError("a key's prefix has 12 hex digits; `trident keys list` shows them")
    return public


def check_name(option: str, text: str, least: int) -> None:
    """Text that a log line and a table can hold, of `least` to 128 bytes."""
    if not text.isprintable() or not least <= len(text.encode()) <= _MAX_NAME_BYTES:
        raise SettingsError(f"--{option} must have {least} to {_MAX_NAME_BYTES} printable bytes")
