"""One request to a running gateway's own endpoints, for the verbs that ask it: the answer, or one line of why not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from trident.cli.connection import connection_of

GATEWAY_URL = "http://127.0.0.1:8080"
GatewayUrl = Annotated[str, typer.Option("--url", help="The running gateway.")]


def ask_gateway(
    url: str,
    api_key: str | None,
    path: str,
    body: Mapping[str, Any] | None = None,
    *,
    method: str | None = None,
    timeout_s: float = 30.0,
) -> dict[str, Any]:
    """The JSON that `path` answers with. `method`: GET, or POST with a body, where it is not given.

    Raises:
        UnavailableError: nobody answers there, or not now.
        InvalidRequestError: the gateway refuses it.
        SettingsError: the key's file cannot be read.
    """
    import httpx

    from trident.errors import InvalidRequestError, UnavailableError
    from trident_client.transport import is_loopback

    headers = dict(connection_of(api_key, None, None, None).all_headers())
    url = url if "://" in url else f"http://{url}"
    method = method or ("GET" if body is None else "POST")
    try:
        with httpx.Client(headers=headers, timeout=timeout_s, trust_env=not is_loopback(url)) as client:
            answer = client.request(method, f"{url.rstrip('/')}{path}", json=body)
    except (httpx.TransportError, httpx.InvalidURL) as exc:
        raise UnavailableError(f"no answer from {url} ({exc}); is `trident gateway` running there?") from exc
    if answer.status_code != httpx.codes.OK:
        try:
            reason = answer.json()["error"]["message"]
        except (ValueError, KeyError, TypeError):
            reason = "is it a gateway?"
        kind = UnavailableError if answer.status_code >= httpx.codes.INTERNAL_SERVER_ERROR else InvalidRequestError
        raise kind(f"{url} answers {answer.status_code}: {reason}")
    try:
        found = answer.json()
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise UnavailableError(f"{url} answers with something else than a JSON object; is it a gateway?")
    return found
