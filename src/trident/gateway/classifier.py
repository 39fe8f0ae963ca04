"""The operator's own functions that label a request's text, named in the gateway's file as 'package.module:function'.

Imported when the file is read, never because of a request. They run in two threads, so that one that takes its time
does not hold up the streams; one that fails or takes too long has said nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module

Classifier = Callable[[str], str]
_TIMEOUT_S = 0.5  # a request waits no longer for its label
_log = logging.getLogger(__name__)


def load_classifier(reference: str) -> Classifier:
    """Import it.

    Raises:
        ValueError: there is no such module or function.
    """
    module_name, _, function_name = reference.partition(":")
    if not module_name or not function_name:
        raise ValueError(f"'{reference}' is no 'package.module:function'")
    try:
        found = getattr(import_module(module_name), function_name)
    except Exception as exc:  # the operator's code, which may fail in any way
        raise ValueError(f"cannot import the classifier '{reference}': {exc}") from exc
    if not callable(found):
        raise ValueError(f"the classifier '{reference}' is not a function")  # noqa: TRY004 - as pydantic wants it
    classifier: Classifier = found
    return classifier


class Classifiers:
    """Those that the rules name; `close` when the file was rewritten."""

    def __init__(self, references: Iterable[str], timeout_s: float = _TIMEOUT_S) -> None:
        self._functions = {reference: load_classifier(reference) for reference in references}
        self._timeout_s = timeout_s
        self._threads = ThreadPoolExecutor(2, "trident-classifier") if self._functions else None

    async def labels(self, references: Iterable[str], text: str) -> dict[str, str]:
        """What each says of the text; "" for one that failed or was too slow, which is logged without the text."""
        wanted = list(references)
        found = await asyncio.gather(*[self._label(reference, text) for reference in wanted])
        return dict(zip(wanted, found, strict=True))

    def close(self) -> None:
        """Nobody asks any more; what was asked before is still answered."""
        if self._threads is not None:
            self._threads.shutdown(wait=False)

    async def _label(self, reference: str, text: str) -> str:
        loop = asyncio.get_running_loop()
        try:
            running = loop.run_in_executor(self._threads, self._functions[reference], text)
            return str(await asyncio.wait_for(running, self._timeout_s))
        except asyncio.TimeoutError:
            _log.warning("the classifier %s took more than %g s", reference, self._timeout_s)
        except Exception as exc:  # noqa: BLE001 - the operator's code, which may fail in any way
            _log.warning("the classifier %s failed: %s", reference, type(exc).__name__)
        return ""
