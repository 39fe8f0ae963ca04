"""The conversation that a response answers: the items of those before it, those that are referred to, and its own."""

from __future__ import annotations

from typing import Any

from trident.errors import InvalidRequestError, NotFoundError
from trident.gateway.openai_api.response_items import read_items, referred_ids, response_of
from trident.gateway.openai_api.response_request import ResponseRequest
from trident.gateway.openai_api.response_store import ResponseStore

Json = dict[str, Any]
MAX_REFERENCES = 128  # in one input; each may bring a whole conversation out of the database


async def conversation_of(store: ResponseStore, tenant: str, asked: ResponseRequest, response_id: str) -> list[Json]:
    """The items of the responses before, and the request's own, which get ids of `response_id`.

    Raises:
        NotFoundError: the tenant has no such response before.
        InvalidRequestError: that one still runs, or the input is wrong.
    """
    before: list[Json] = []
    if (previous := asked.previous_response_id) is not None:
        row = await store.find(tenant, previous)
        if row is None:
            raise NotFoundError(
                f"there is no response '{previous[:64]}'",
                param="previous_response_id",
                code="previous_response_not_found",
            )
        if row.status == "in_progress":
            raise InvalidRequestError(
                f"the response '{row.id}' still runs; wait for its end", param="previous_response_id"
            )
        before = [*row.input, *row.body["output"]]
    referred = await _referred(store, tenant, asked.body.get("input"))
    return [*before, *read_items(asked.body.get("input"), response_id, referred.get)]


async def _referred(store: ResponseStore, tenant: str, given: Any) -> dict[str, Json]:
    """The stored items, by id, that references in the input may name."""
    ids = referred_ids(given)
    if len(ids) > MAX_REFERENCES:
        raise InvalidRequestError(
            f"input has {len(ids)} references to items; at most {MAX_REFERENCES} are read", param="input"
        )
    owners = {owner for item_id in ids if (owner := response_of(item_id))}
    rows = await store.find_all(tenant, owners) if owners else ()
    return {item["id"]: item for row in rows for item in (*row.input, *row.body["output"])}
