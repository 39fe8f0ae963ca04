"""Lets a server finish what it has begun, and take nothing new meanwhile.

Triton 2.51 cannot do it: when it stops, it refuses an ensemble's own next steps, so that every stream breaks.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

from trident.server.metrics_page import read_metrics
from trident.settings import Settings

_PUBLISHED_S = 0.7  # the engine model publishes its gauges twice a second
_TICK_S = 0.1
_ACTIVE = re.compile(r'^nv_trt_llm_request_metrics\{.*request_type="active".*\} (\S+)$', re.MULTILINE)


def drain(settings: Settings, drain_file: Path, is_alive: Callable[[], bool]) -> bool:
    """Refuse new requests and wait until none runs; False when some still did at the end of the exit timeout.

    The engine model must say for a while that nothing runs: what it says may be that old, and the last responses have
    postprocessing before them.
    """
    try:
        drain_file.touch()
    except FileNotFoundError:  # it went away by itself, and its folder with it
        return True
    start = time.monotonic()
    idle_since: float | None = None
    while is_alive():
        now = time.monotonic()
        found = _ACTIVE.search(read_metrics(settings))
        if found is None or float(found[1]) > 0:
            idle_since = None
        elif idle_since is None:
            idle_since = now
        elif now - idle_since > _PUBLISHED_S:
            return True
        if now - start > settings.exit_timeout_s:
            return False
        time.sleep(_TICK_S)
    return True
