"""A chat with passages in it: found by its last question, checked, as many as fit, in a named template's words.

What fits is asked of the answering model's own preprocessing, which counts a prompt as it will for the generation. It
knows nothing of how passages are found (`retriever.py`) or cited (`citations.py`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trident.errors import InvalidRequestError, PromptTooLongError
from trident.gateway.prompt_text import last_user_text
from trident.gateway.retrieval.citations import Citations
from trident.gateway.retrieval.passage_text import as_material
from trident.gateway.retrieval.retriever import Passage, Retriever
from trident.gateway.retrieval.settings import ModelRetrieval
from trident.safety.injection import Injection
from trident.safety.policy import InjectionSection
from trident.safety.verdict import Action
from trident.text.prompt_template import PromptTemplate
from trident_client.request import Messages

# Messages -> tokens of the prompt; raises PromptTooLongError where they and the completion are more than can be.
Count = Callable[[Messages], Awaitable[int]]
_INJECTION = Injection(InjectionSection())


@dataclass(frozen=True, slots=True)
class Grounding:
    """What is sent in place of a chat, and what its answer may cite."""

    messages: Messages
    citations: Citations
    scope: str  # equal for requests that were given the same passages of the same version of a collection


@dataclass(frozen=True, slots=True)
class _Checked:
    passage: Passage
    finding: str


async def ground(
    messages: Messages,
    tenant: str,
    settings: ModelRetrieval,
    retriever: Retriever,
    template: PromptTemplate,
    count: Count,
) -> Grounding:
    """The chat with the passages that its last user message asks for, the best first.

    Raises:
        InvalidRequestError: it has no user message with words.
        NotFoundError: the tenant has no such collection.
        PromptTooLongError: the chat alone is too long.
        TridentError: nothing can be looked for, embedded or counted now.
    """
    question = last_user_text(messages)
    if not question.strip():
        raise InvalidRequestError("retrieval needs a user message with words", param="messages")
    num_wanted = settings.top_k * (2 if settings.injection == "drop" else 1)
    found = await retriever.find(tenant, settings.collection, question, num_wanted)
    near = [passage for passage in found.passages if passage.score >= settings.min_score]
    checked = _checked(near, settings)[: settings.top_k]
    given = await _fitting(checked, settings.max_context_tokens, lambda some: count(_with(messages, some, template)))
    citations = Citations(
        settings.collection,
        found.version,
        tuple(each.passage for each in given),
        tuple(each.finding for each in given),
        len(checked) - len(given),
    )
    return Grounding(_with(messages, given, template), citations, _scope(settings, found.version, given))


def template_fault(template: PromptTemplate) -> str | None:
    """Why passages cannot be given by it; None: they can."""
    variables = template.file.variables
    kinds = {name: variable.type for name, variable in variables.items()}
    if kinds.get("question") != "string" or kinds.get("passages") != "strings":
        return "it needs the variables question (string) and passages (strings)"
    if kinds.get("documents", "strings") != "strings":
        return "its variable documents must be strings"
    others = [name for name, variable in variables.items() if variable.default is None]
    if unknown := sorted(set(others) - {"question", "passages", "documents"}):
        return f"nothing gives it the variable {unknown[0]}"
    roles = [message.role for message in template.file.messages or ()]
    if roles not in (["user"], ["system", "user"]):
        return "it must be one user message, with or without a system message before it"
    return None


def _checked(passages: Sequence[Passage], settings: ModelRetrieval) -> list[_Checked]:
    if settings.injection == "allow":
        return [_Checked(passage, "") for passage in passages]
    found = []
    for passage in passages:
        examined = _INJECTION.examine(passage.text)
        is_bad = examined.action is Action.BLOCK
        if not is_bad or settings.injection == "flag":
            found.append(_Checked(passage, f"injection: {examined.reason}" if is_bad else ""))
    return found


async def _fitting(
    passages: Sequence[_Checked], max_tokens: int, count: Callable[[Sequence[_Checked]], Awaitable[int]]
) -> Sequence[_Checked]:
    """As many from the beginning as fit. More passages are more tokens, so half of what is left is tried each time."""
    if not passages:
        return passages
    num_alone = await count(())

    async def fits(number: int) -> bool:
        try:
            return await count(passages[:number]) - num_alone <= max_tokens
        except PromptTooLongError:
            return False

    low, high = 0, len(passages)
    number = high  # mostly all
    while low < high:
        if await fits(number):
            low = number
        else:
            high = number - 1
        number = (low + high + 1) // 2
    return passages[:low]


def _with(messages: Messages, given: Sequence[_Checked], template: PromptTemplate) -> Messages:
    """The chat with the template's words: its system message behind the chat's own, its user message for the last."""
    values: dict[str, Any] = {
        "question": last_user_text(messages),
        "passages": [as_material(each.passage.text) for each in given],
        "documents": [as_material(f"{each.passage.document}, {each.passage.place}") for each in given],
    }
    rendered = template.render({name: value for name, value in values.items() if name in template.file.variables})
    *instructions, asked = [message["content"] for message in rendered.messages or ()]
    last = max(number for number, message in enumerate(messages) if message.get("role") == "user")
    chat: list[Mapping[str, Any]] = list(messages)
    chat[last] = {**chat[last], "content": asked}
    if not instructions:
        return chat
    first = chat[0]
    if first.get("role") not in {"system", "developer"}:
        return [{"role": "system", "content": instructions[0]}, *chat]
    content = first.get("content")
    if isinstance(content, list):
        return [{**first, "content": [*content, {"type": "text", "text": f"\n\n{instructions[0]}"}]}, *chat[1:]]
    return [{**first, "content": f"{content or ''}\n\n{instructions[0]}"}, *chat[1:]]


def _scope(settings: ModelRetrieval, version: str, given: Sequence[_Checked]) -> str:
    texts = "\0".join(part for each in given for part in (each.passage.document, each.passage.place, each.passage.text))
    return f"{settings.collection}@{version}#{hashlib.sha256(texts.encode('utf-8', 'replace')).hexdigest()}"
