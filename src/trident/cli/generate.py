"""`trident generate "PROMPT"`: the completion of a raw prompt, written to stdout as it comes."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trident.cli.connection import (
    ApiKey,
    CaFile,
    CertFile,
    KeyFile,
    ModelName,
    ProtocolName,
    Url,
    connect,
    connection_of,
)
from trident.contract import ENSEMBLE
from trident.errors import InvalidRequestError

if TYPE_CHECKING:
    from rich.status import Status

    from trident_client import Client, Completion, Delta

MaxTokens = Annotated[int | None, typer.Option(help="most tokens to generate", show_default="128")]
Temperature = Annotated[float | None, typer.Option(help="randomness; greedy when unset")]
TopK = Annotated[int | None, typer.Option(help="sample from the K likeliest tokens")]
TopP = Annotated[float | None, typer.Option(help="sample from the likeliest tokens of this total probability")]
Seed = Annotated[int | None, typer.Option(help="the same seed gives the same sample")]


@dataclass
class Answer:
    """A completion with the client's own timings."""

    text: str = ""
    reasoning: str = ""
    finish_reason: str = ""
    num_input_tokens: int | None = None
    num_output_tokens: int | None = None
    ttft_s: float = 0.0  # from sending to the first response
    total_s: float = 0.0

    @property
    def tokens_per_s(self) -> float | None:
        """Output tokens over the whole time, the prompt's included; None when the server did not count them."""
        return None if self.num_output_tokens is None else self.num_output_tokens / self.total_s

    def add(self, delta: Delta | Completion) -> None:
        """What came next."""
        self.text += delta.text
        self.reasoning += delta.reasoning
        self.finish_reason = delta.finish_reason
        self.num_input_tokens, self.num_output_tokens = delta.num_input_tokens, delta.num_output_tokens

    def as_json(self) -> str:
        """One JSON object on one line."""
        rate = self.tokens_per_s
        fields = {
            "text": self.text,
            **({"reasoning": self.reasoning} if self.reasoning else {}),
            "finish_reason": self.finish_reason,
            "usage": {"num_input_tokens": self.num_input_tokens, "num_output_tokens": self.num_output_tokens},
            "ttft_ms": round(self.ttft_s * 1e3, 3),
            "tokens_per_s": None if rate is None else round(rate, 2),
        }
        return json.dumps(fields, ensure_ascii=False)

    def as_line(self) -> str:
        """One line for people."""
        rate = self.tokens_per_s
        speed = "" if rate is None else f" · {rate:.1f} tokens/s · {self.num_output_tokens} tokens"
        return f"TTFT {self.ttft_s * 1e3:.0f} ms{speed} · {self.finish_reason or 'no finish reason'}"


def generate(
    prompt: Annotated[str | None, typer.Argument(help="the prompt; '-' or nothing reads stdin")] = None,
    *,
    url: Url = None,
    protocol: ProtocolName = "grpc",
    model: ModelName = ENSEMBLE.name,
    api_key: ApiKey = None,
    ca_file: CaFile = None,
    cert_file: CertFile = None,
    key_file: KeyFile = None,
    max_tokens: MaxTokens = None,
    temperature: Temperature = None,
    top_k: TopK = None,
    top_p: TopP = None,
    seed: Seed = None,
    stop: Annotated[list[str] | None, typer.Option(help="end before this text; may be repeated")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object at the end instead of text")] = False,
    no_stream: Annotated[bool, typer.Option("--no-stream", help="one answer instead of a stream")] = False,
) -> None:
    """Complete a raw prompt; the text comes as it is generated."""
    text = _read_prompt(prompt)
    sampling = set_options(
        max_tokens=max_tokens, temperature=temperature, top_k=top_k, top_p=top_p, seed=seed, stop_words=stop or None
    )
    with connect(url, protocol, model, connection_of(api_key, ca_file, cert_file, key_file)) as client:
        answer = _ask(client, text, sampling, is_streaming=not no_stream, is_quiet=as_json)
    if as_json:
        print(answer.as_json())
    elif sys.stderr.isatty():
        typer.secho(answer.as_line(), dim=True, err=True)


def set_options(**options: Any) -> dict[str, Any]:
    """The options that were given; the others are left to the client and the server."""
    return {name: value for name, value in options.items() if value is not None}


def write_text(text: str) -> None:
    """Write to stdout at once, so that a pipe streams too."""
    sys.stdout.write(text)
    sys.stdout.flush()


def collect(answer: Answer, deltas: Iterable[Delta | Completion], *, is_quiet: bool) -> None:
    """Gather the deltas into `answer`, and write them as they come unless `is_quiet`.

    In a terminal something moves until the first one is there, and reasoning is dim.
    """
    began_s = time.perf_counter()
    try:
        with ExitStack() as waiting:
            if not is_quiet and sys.stdout.isatty() and sys.stderr.isatty():
                waiting.enter_context(_spinner())
            for delta in deltas:
                waiting.close()
                answer.ttft_s = answer.ttft_s or time.perf_counter() - began_s
                answer.add(delta)
                if not is_quiet:
                    _write_delta(delta)
    finally:
        answer.total_s = time.perf_counter() - began_s
        if answer.text and not is_quiet:
            write_text("\n")  # also before the line of an error


def _spinner() -> Status:
    from rich.console import Console

    return Console(stderr=True).status("[dim]the prompt is read[/dim]")


def _write_delta(delta: Delta | Completion) -> None:
    if delta.reasoning and sys.stderr.isatty():
        typer.secho(delta.reasoning, dim=True, err=True, nl=False)
    write_text(delta.text)


def _ask(client: Client, prompt: str, sampling: dict[str, Any], *, is_streaming: bool, is_quiet: bool) -> Answer:
    answer = Answer()
    if is_streaming:
        with client.stream(prompt, **sampling) as stream:
            collect(answer, stream, is_quiet=is_quiet)
    else:
        collect(answer, (client.generate(prompt, **sampling) for _ in range(1)), is_quiet=is_quiet)
    return answer


def _read_prompt(prompt: str | None) -> str:
    """The argument, or stdin without the line break that `echo` adds."""
    if prompt is not None and prompt != "-":
        return prompt
    if prompt is None and sys.stdin.isatty():
        raise InvalidRequestError('no prompt: give one as an argument (trident generate "PROMPT") or pipe it in')
    try:
        return sys.stdin.buffer.read().decode("utf-8").removesuffix("\n")
    except UnicodeDecodeError as exc:
        raise InvalidRequestError(f"stdin is not valid UTF-8 (byte {exc.start}); convert it first") from exc
