"""`tools` and `tool_choice` of a chat's body: which functions the model may call, and whether it must.

Pure functions. What a forced call is made and read by is in `openai_tools.py`.
"""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from typing import Any

from trident.errors import InvalidRequestError, UnsupportedParameterError, did_you_mean
from trident_client.openai_parameters import wrong_type
from trident_client.openai_tools import ForcedCalls, named_guide, required_guide

Body = Mapping[str, Any]


def read_tools(body: Body) -> tuple[list[dict[str, Any]], ForcedCalls | None]:
    """The tools that the model may call, and whether it must.

    Raises:
        InvalidRequestError: tools, or a choice, of another form.
        UnsupportedParameterError: what cannot be kept, by name.
    """
    tools, choice = body.get("tools"), body.get("tool_choice")
    _check_tools(tools)
    if not tools:
        if choice is not None and choice not in ("none", "auto"):
            raise InvalidRequestError("tool_choice needs tools", param="tool_choice")
        return [], None
    has_guide = (body.get("response_format") or {}).get("type", "text") != "text"
    if choice == "none":
        return [], None
    if has_guide or body.get("guided_decoding_guide_type"):
        raise UnsupportedParameterError(
            "response_format does not go with tools, whose calls it would forbid; send tool_choice 'none' or leave "
            "one of the two out", param="response_format",
        )  # fmt: skip
    if choice in (None, "auto"):
        if body.get("parallel_tool_calls") is False:
            raise UnsupportedParameterError(
                "parallel_tool_calls: false is kept with tool_choice 'required' or a function only",
                param="parallel_tool_calls",
            )
        return tools, None
    if choice == "required":
        return tools, ForcedCalls()
    return _named(tools, choice)


def _named(tools: list[dict[str, Any]], choice: Any) -> tuple[list[dict[str, Any]], ForcedCalls]:
    kind = choice.get("type") if isinstance(choice, dict) else None
    if kind in ("allowed_tools", "custom"):
        raise UnsupportedParameterError(
            f"tool_choice of type '{kind}' is not supported; name a function", param="tool_choice.type"
        )
    function = choice.get("function") if kind == "function" else None
    name = function.get("name") if isinstance(function, dict) else None
    if not isinstance(name, str):
        raise InvalidRequestError(
            f"tool_choice must be 'none', 'auto', 'required' or a function, got {reprlib.repr(choice)}",
            param="tool_choice",
        )
    chosen = [tool for tool in tools if tool["function"]["name"] == name]
    if not chosen:
        known = [tool["function"]["name"] for tool in tools]
        raise InvalidRequestError(
            f"tool_choice names '{name}', which is not among tools{did_you_mean(name, known)}",
            param="tool_choice.function.name",
        )
    return chosen, ForcedCalls(name)


def _check_tools(tools: Any) -> None:
    if tools is None:
        return
    if not isinstance(tools, list):
        raise wrong_type("tools", "a list", tools)
    for number, tool in enumerate(tools):
        kind = tool.get("type") if isinstance(tool, dict) else None
        if kind == "custom":
            raise UnsupportedParameterError(f"tools[{number}]: only functions are tools", param=f"tools[{number}].type")
        function = tool.get("function") if kind == "function" else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise InvalidRequestError(
                f'tools[{number}] must be {{"type": "function", "function": {{"name": ...}}}}', param=f"tools[{number}]"
            )
        if not isinstance(function.get("parameters") or {}, dict):
            where = f"tools[{number}].function.parameters"
            raise wrong_type(where, "a JSON schema", function["parameters"])


def guide_of(tools: list[dict[str, Any]], forced: ForcedCalls, *, is_parallel: bool) -> dict[str, Any]:
    """The parameters that make the model call; `is_parallel`: more than one call is allowed."""
    guide = named_guide(tools[0]["function"]) if forced.name else required_guide(tools, is_parallel)
    return {"guided_decoding_guide_type": "json_schema", "guided_decoding_guide": guide}
