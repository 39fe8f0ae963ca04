"""One event loop for all of these: what gRPC says late of a test that is over would otherwise find its loop closed."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="package")
def anyio_backend():
    return "asyncio"


@pytest.fixture(scope="package", autouse=True)
async def _loop(anyio_backend):
    """It is kept for as long as this fixture is."""
