"""Limits of which something is taken now: of the keys and tenants that are known, the fullest first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from trident.gateway.authentication import Authenticator
from trident.gateway.config import GatewayConfig
from trident.gateway.identity import ANONYMOUS, Identity, Limits
from trident.gateway.keys import ApiKey
from trident.gateway.limiter import Limiter, budgets_of, shares_of
from trident.gateway.overview.figures import LimitFigures, LimitKind

_MAX_LIMITS = 100
_NONE = Limits()

Owner = tuple[str, str | None]  # tenant, and the key whose limit it is; None: the tenant's


def limited(config: GatewayConfig, authenticator: Authenticator, keys: Iterable[ApiKey]) -> list[Identity]:
    """Who may ask: each key, each tenant of the file, and whoever shows no key where none is asked for."""
    identities = [authenticator.identity(key.tenant, key.prefix, limits=key.limits) for key in keys]
    identities += [authenticator.identity(tenant, "", limits=_NONE) for tenant in config.tenants]
    if not config.auth.required:
        identities.append(authenticator.identity(ANONYMOUS.tenant, ANONYMOUS.key_id, limits=_NONE))
    return identities


async def limit_figures(limiter: Limiter, identities: Iterable[Identity]) -> list[LimitFigures]:
    """Raises UnavailableError: there are budgets and the database does not answer."""
    owners = list(_owners(identities))
    found = [*await _counted(limiter, owners), *await _spent(limiter, owners)]
    found.sort(key=lambda each: each.used / each.limit, reverse=True)
    return found[:_MAX_LIMITS]


def _owners(identities: Iterable[Identity]) -> Iterator[tuple[Owner, Identity]]:
    """Each with the limits that are its own."""
    for identity in identities:
        yield (identity.tenant, identity.key_id), replace(identity, tenant_limits=_NONE)
        yield (identity.tenant, None), replace(identity, key_limits=_NONE)


async def _counted(limiter: Limiter, owners: Iterable[tuple[Owner, Identity]]) -> Iterable[LimitFigures]:
    shares = {share.of: (share, owner) for owner, identity in owners for share in shares_of(identity, 0)}
    standings = await limiter.windows.standings([share for share, _ in shares.values()])
    taken = [(standing.share, standing.share.limit - standing.remaining) for standing in standings]
    return [_figures(shares[share.of][1], share.kind, share.limit, used) for share, used in taken if used > 0]


async def _spent(limiter: Limiter, owners: Iterable[tuple[Owner, Identity]]) -> Iterable[LimitFigures]:
    budgets = {budget.subject: (budget, owner) for owner, identity in owners for budget in budgets_of(identity)}
    if limiter.spending is None or not budgets:
        return ()
    spent = await limiter.spending.all_spent_today()
    return [
        _figures(owner, "budget", budget.amount, spent[subject])
        for subject, (budget, owner) in budgets.items()
        if spent.get(subject, 0.0) > 0
    ]


def _figures(owner: Owner, kind: LimitKind, limit: float, used: float) -> LimitFigures:
    tenant, key = owner
    return LimitFigures(tenant=tenant, key=key, kind=kind, limit=limit, used=used)
