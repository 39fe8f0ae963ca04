"""A server's /metrics, read once: Prometheus' text as typed samples.

https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urlsplit

from trident.errors import UnavailableError
from trident_client.connection import Connection, Tls
from trident_client.failure import unreachable

DEFAULT_PORT = 8002  # Triton's
_LINE = re.compile(r"^([A-Za-z_:][\w:]*)(?:\{(.*)\})?\s+([-+]?[\d.]\S*|[-+]?Inf|NaN)(?:\s+-?\d+)?$")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_ESCAPE = re.compile(r"\\(.)")


@dataclass(frozen=True, slots=True)
class Sample:
    """One value of one series."""

    name: str
    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True, slots=True)
class Metrics:
    """One reading."""

    samples: tuple[Sample, ...]

    def total(self, name: str, **labels: str) -> float | None:
        """The sum of all series of this name that have these labels; None when there is none."""
        found = [
            sample.value
            for sample in self.samples
            if sample.name == name and labels.items() <= dict(sample.labels).items()
        ]
        return sum(found) if found else None


def parse_metrics(text: str) -> Metrics:
    """The samples in a page; comments, and lines that are none, are passed over."""
    found = (_LINE.match(line.strip()) for line in text.splitlines() if line and not line.startswith("#"))
    return Metrics(tuple(_sample(match) for match in found if match is not None))


def metrics_url_of(url: str) -> str:
    """Where a server has its metrics as a rule: the same host, port 8002."""
    host = urlsplit(url if "://" in url else f"//{url}").hostname or url
    return f"http://{f'[{host}]' if ':' in host else host}:{DEFAULT_PORT}/metrics"


def page_url(url: str, scheme: str = "http") -> str:
    """Of an address as people give it: `scheme` where it has none, and `/metrics` where it has no path."""
    url = url if "://" in url else f"{scheme}://{url}"
    return url if urlsplit(url).path not in {"", "/"} else f"{url.rstrip('/')}/metrics"


async def read_metrics(url: str, connection: Connection) -> Metrics:
    """GET the page; without a scheme the address is https where `connection` has TLS.

    Raises:
        UnavailableError: nobody answers there, or not with a page of metrics.
        SettingsError: a certificate cannot be used.
    """
    import httpx  # noqa: PLC0415 - only who reads metrics waits for it

    from trident_client.http_transport import ssl_context  # noqa: PLC0415
    from trident_client.transport import is_loopback  # noqa: PLC0415

    url = page_url(url, "https" if connection.tls else "http")
    headers = dict(connection.all_headers())
    tls = connection.tls or Tls()
    verify = ssl_context(tls) if url.startswith("https:") else False
    extensions = {"sni_hostname": tls.server_name} if tls.server_name else {}
    is_proxied = not is_loopback(url)
    try:
        async with httpx.AsyncClient(headers=headers, timeout=5.0, verify=verify, trust_env=is_proxied) as client:
            response = await client.get(url, extensions=extensions)
    except (httpx.TransportError, httpx.InvalidURL) as exc:
        raise unreachable(url, str(exc) or type(exc).__name__) from exc
    if response.status_code != HTTPStatus.OK:
        raise UnavailableError(f"{url} answers {response.status_code} instead of metrics; give metrics_url")
    return parse_metrics(response.text)


def _sample(match: re.Match[str]) -> Sample:
    labels = {name: _ESCAPE.sub(_unescaped, value) for name, value in _LABEL.findall(match[2] or "")}
    return Sample(match[1], labels, float(match[3]))


def _unescaped(match: re.Match[str]) -> str:
    return "\n" if match[1] == "n" else match[1]
