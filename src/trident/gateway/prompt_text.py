"""What the gateway itself reads of a prompt: its text, its last user message, its beginning. It knows no tokenizer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trident_client.request import Prompt, TemplatePrompt

_BYTES_PER_TOKEN = 3  # rather too few, so that what is reserved is rather too much


def estimated_tokens(text: str) -> int:
    """About how many tokens it has: one for every three bytes of UTF-8."""
    return -(-len(text.encode("utf-8", "replace")) // _BYTES_PER_TOKEN)


def whole_text(prompt: Prompt) -> str:
    """Everything that it says, a line for each message."""
    if isinstance(prompt, str):
        return prompt
    if isinstance(prompt, TemplatePrompt):
        return "\n".join([prompt.template, *(str(value) for value in prompt.variables.values())])
    return "\n".join(_text_of(message) for message in prompt)


def last_user_text(prompt: Prompt) -> str:
    """The last message of the user's; of a prompt that has no messages, all of it."""
    if isinstance(prompt, (str, TemplatePrompt)):
        return whole_text(prompt)
    return next((_text_of(message) for message in reversed(prompt) if _role_of(message) == "user"), "")


def leading_text(prompt: Prompt, max_chars: int) -> str:
    """How it begins: of messages, up to the first of the user's, which does not change as a conversation goes on."""
    if isinstance(prompt, (str, TemplatePrompt)):
        return whole_text(prompt)[:max_chars]
    lines: list[str] = []
    for message in prompt:
        lines.append(f"{_role_of(message)}: {_text_of(message)}")
        if _role_of(message) == "user":
            break
    return "\n".join(lines)[:max_chars]


def _role_of(message: Mapping[str, Any]) -> str:
    return str(message.get("role", ""))


def _text_of(message: Mapping[str, Any]) -> str:
    """`content` is text, or a list of parts of which those with text count."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    if isinstance(content, Sequence):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, Mapping))
    return ""
