"""The two plain forms of `POST /generate`: vLLM's demonstration server's, and the one with `max_new_tokens`.

https://github.com/vllm-project/vllm/blob/main/vllm/entrypoints/api_server.py. Which one it is, `max_new_tokens` says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from trident.errors import InvalidRequestError, did_you_mean
from trident.gateway.edge.validation import refusal_of
from trident_client.completion import Completion
from trident_client.sampling import Sampling

_STRICT = ConfigDict(frozen=True, extra="forbid", strict=True)


def _listed(value: Any) -> Any:
    """One stop word is a list of one."""
    return [value] if isinstance(value, str) else value


class VllmForm(BaseModel):
    """Its defaults are vLLM's. The answer repeats the prompt before each text, as vLLM's does."""

    model_config = _STRICT

    prompt: str
    model: str | None = None
    max_tokens: int = Field(16, ge=1)
    temperature: float = Field(1.0, ge=0)
    top_p: float = Field(1.0, gt=0, le=1)
    top_k: int | None = Field(None, ge=1)
    n: int = Field(1, ge=1, le=16)
    seed: int | None = Field(None, ge=0)
    stop: Annotated[list[str], BeforeValidator(_listed)] = Field(default_factory=list, max_length=16)
    stream: bool = False

    def sampling(self) -> Sampling:
        """What the ensemble is asked for."""
        return Sampling(
            max_tokens=self.max_tokens,
            temperature=self.temperature,
            top_p=self.top_p if self.temperature > 0 and self.top_p < 1 else None,
            top_k=self.top_k,
            seed=self.seed,
            stop_words=self.stop,
            num_return_sequences=self.n if self.n > 1 else None,
        )


class NewTokensForm(BaseModel):
    """Greedy unless a temperature is given."""

    model_config = _STRICT

    prompt: str
    model: str | None = None
    max_new_tokens: int = Field(ge=1)
    temperature: float = Field(0.0, ge=0)

    def sampling(self) -> Sampling:
        """What the ensemble is asked for."""
        return Sampling(max_tokens=self.max_new_tokens, temperature=self.temperature)


Form = VllmForm | NewTokensForm


def read_plain_body(body: bytes) -> Form:
    """Raises InvalidRequestError: no JSON object, members of both forms or of neither, a value out of range."""
    try:
        values = orjson.loads(body)
    except orjson.JSONDecodeError as exc:
        raise InvalidRequestError(f"the body is not JSON: {exc}", code="invalid_json") from exc
    if not isinstance(values, dict):
        raise InvalidRequestError("the body must be a JSON object")
    form: type[Form] = NewTokensForm if "max_new_tokens" in values else VllmForm
    other = VllmForm if form is NewTokensForm else NewTokensForm
    for name in values:
        if name in form.model_fields:
            continue
        if name in other.model_fields:
            raise InvalidRequestError(f"'{name}' and max_new_tokens do not go together", param=name)
        raise InvalidRequestError(
            f"unknown parameter '{name}'{did_you_mean(name, form.model_fields)}", param=name, code="unknown_parameter"
        )
    try:
        return form.model_validate(values)
    except ValidationError as exc:
        raise refusal_of(exc.errors()) from exc


@dataclass(slots=True)
class Texts:
    """What vLLM's form has said so far, which each of its lines says whole."""

    prompt: str
    texts: list[str]

    def add(self, sequence_index: int, text: str) -> None:
        """More of one sequence."""
        self.texts[sequence_index] += text

    def line(self) -> bytes:
        """As a JSON object on a line."""
        return vllm_answer(self.prompt, self.texts) + b"\n"


def vllm_answer(prompt: str, texts: Sequence[str]) -> bytes:
    """`{"text": [...]}`."""
    return orjson.dumps({"text": [prompt + text for text in texts]})


def new_tokens_answer(completion: Completion, latency_s: float) -> bytes:
    """`status`, `generated_text`, counts of tokens, the time it took, and the text read as JSON where it is that."""
    return orjson.dumps(
        {
            "status": "success",
            "generated_text": completion.text,
            "finish_reason": completion.finish_reason,
            "prompt_tokens": completion.num_input_tokens,
            "generated_tokens": completion.num_output_tokens,
            "latency_ms": round(1000 * latency_s, 3),
            "parsed_json": _json_in(completion.text),
        }
    )


def _json_in(text: str) -> Any:
    """The object or list that the whole text is; None of anything else."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, (dict, list)) else None
