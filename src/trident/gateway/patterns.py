"""RE2 patterns of rules: linear in the text whatever the pattern, because clients write the text."""

from __future__ import annotations

from typing import Any

import re2

MAX_SEARCHED_CHARS = 65_536  # of a message; so a rule costs a millisecond at most


def compile_pattern(pattern: str) -> Any:
    """Ready to be searched with; compiled once, RE2 keeps it.

    Raises:
        ValueError: it is no pattern of RE2's, which has no look-around and no back-references.
    """
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except re2.error as exc:
        reason = exc.args[0].decode("utf-8", "replace") if isinstance(exc.args[0], bytes) else exc.args[0]
        raise ValueError(f"'{pattern}' is no RE2 pattern: {reason}") from exc
