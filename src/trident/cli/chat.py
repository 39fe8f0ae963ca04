"""`trident chat`: a conversation in the terminal, or over a pipe with one user line per turn."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
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
from trident.cli.generate import (
    Answer,
    MaxTokens,
    Seed,
    Temperature,
    TopK,
    TopP,
    collect,
    set_options,
    write_text,
)
from trident.contract import ENSEMBLE
from trident.errors import InvalidRequestError, TridentError

if TYPE_CHECKING:
    from trident_client import Client

Message = dict[str, str]
HELP = "/reset forgets the conversation, /quit or Ctrl-D ends it, Ctrl-C stops an answer"


def chat(
    *,
    url: Url = None,
    protocol: ProtocolName = "grpc",
    model: ModelName = ENSEMBLE.name,
    api_key: ApiKey = None,
    ca_file: CaFile = None,
    cert_file: CertFile = None,
    key_file: KeyFile = None,
    system: Annotated[str | None, typer.Option(help="what the model is told before the conversation")] = None,
    max_tokens: MaxTokens = None,
    temperature: Temperature = None,
    top_k: TopK = None,
    top_p: TopP = None,
    seed: Seed = None,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object for each answer instead of text")] = False,
) -> None:
    """Talk with the model; the history is kept until /reset."""
    sampling = set_options(max_tokens=max_tokens, temperature=temperature, top_k=top_k, top_p=top_p, seed=seed)
    beginning: list[Message] = [{"role": "system", "content": system}] if system else []
    history = list(beginning)
    is_terminal = sys.stdin.isatty()
    connection = connection_of(api_key, ca_file, cert_file, key_file)
    with (
        connect(url, protocol, model, connection) as client,
        contextlib.suppress(KeyboardInterrupt),  # Ctrl-C at the prompt ends it
    ):
        for line in _lines(is_terminal=is_terminal):
            if line == "/quit":
                return
            if line == "/reset":
                history = list(beginning)
                continue
            try:
                history = _turn(client, history, line, sampling, as_json=as_json)
            except TridentError as exc:
                if not is_terminal:
                    raise
                _note(f"trident: {exc.message}")


def _lines(*, is_terminal: bool) -> Iterator[str]:
    """What the user says, line by line, without empty ones."""
    if is_terminal:
        with contextlib.suppress(ImportError):
            import readline

            readline.set_auto_history(True)
        _note(HELP)
    while True:
        try:
            line = input("> " if is_terminal else "").strip()
        except EOFError:
            return
        except UnicodeDecodeError as exc:
            raise InvalidRequestError(f"stdin is not valid UTF-8 (byte {exc.start}); convert it first") from exc
        if line:
            yield line


def _turn(
    client: Client, history: list[Message], line: str, sampling: dict[str, Any], *, as_json: bool
) -> list[Message]:
    """Ask, write the answer as it comes, and return the history with both.

    Ctrl-C cancels the answer on the server; what has come of it stays in the history.
    """
    asked = [*history, {"role": "user", "content": line}]
    answer = Answer()
    try:
        with client.stream(asked, **sampling) as stream:
            collect(answer, stream, is_quiet=as_json)
    except KeyboardInterrupt:
        _note("[stopped]")
    else:
        if as_json:
            write_text(answer.as_json() + "\n")
        elif sys.stdout.isatty() and sys.stderr.isatty():
            _note(answer.as_line())
    return [*asked, {"role": "assistant", "content": answer.text}] if answer.text else history


def _note(text: str) -> None:
    """A dim line to stderr, beside the conversation."""
    typer.secho(text, dim=True, err=True)
