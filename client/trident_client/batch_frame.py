"""A pandas frame of prompts becomes the same frame with the answers: what Spark and Ray have in common.

What of a frame cannot be answered is told in its row; that no server answers is an error of the whole frame, which
Spark and Ray hand to another worker. It knows neither of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from trident.errors import SettingsError, UnavailableError, codes_of
from trident_client.batch import BatchResult
from trident_client.client import Client
from trident_client.connection import Connection
from trident_client.request import Prompt
from trident_client.retry import Retry
from trident_client.sampling import Sampling
from trident_client.transport import ProtocolName

_RETRY = Retry(max_retries=6, max_wait_s=10.0)  # servers that restart are away for seconds
# Column of an answer -> its pandas dtype. Where `error` is not null the others are, and the other way round.
ANSWER_COLUMNS: Mapping[str, str] = {
    "text": "object",
    "finish_reason": "object",
    "num_input_tokens": "Int32",
    "num_output_tokens": "Int32",
    "error_code": "object",  # as OpenAI calls it, "invalid_value" for one
    "error": "object",
}


@dataclass(frozen=True, slots=True)
class FrameJob:
    """What every worker has to know; it travels to them pickled, the headers of the connection with it."""

    urls: tuple[str, ...]
    protocol: ProtocolName
    prompt_column: str
    sampling: Sampling
    max_in_flight: int  # of one worker
    connection: Connection

    def check_columns(self, names: Sequence[str]) -> None:
        """Before anything is asked.

        Raises:
            SettingsError: no column of prompts, or one that an answer would replace.
        """
        if self.prompt_column not in names:
            raise SettingsError(f"no column '{self.prompt_column}'; there are {', '.join(names)}")
        if taken := [name for name in names if name in ANSWER_COLUMNS]:
            raise SettingsError(f"column {taken[0]} is there already; rename it, or answer without it")

    def open(self) -> Client:
        """A client of the pool of servers, to be closed by the caller."""
        return Client(self.urls, self.protocol, connection=self.connection, retry=_RETRY)


def answer_frame(client: Client, frame: pd.DataFrame, job: FrameJob) -> pd.DataFrame:
    """The frame with `ANSWER_COLUMNS`; a prompt is text, or a list of chat messages.

    Raises:
        UnavailableError: no server answers.
    """
    rows: list[tuple[Any, ...]] = [()] * len(frame)
    prompts = (_prompt(value) for value in frame[job.prompt_column])
    for result in client.batch(prompts, job.sampling, max_in_flight=job.max_in_flight):
        if isinstance(result.error, UnavailableError) and not client.is_ready():
            raise result.error
        rows[result.index] = _row(result)
    answers = pd.DataFrame(rows, columns=list(ANSWER_COLUMNS), index=frame.index).astype(dict(ANSWER_COLUMNS))
    return pd.concat([frame, answers], axis=1)


def _prompt(value: Any) -> Prompt:
    """Messages come as arrays of mappings, from Arrow; what is no prompt at all is refused where a request is built."""
    if isinstance(value, str) or not hasattr(value, "__len__"):
        return value  # type: ignore[no-any-return]
    return [dict(message) for message in value]


def _row(result: BatchResult) -> tuple[Any, ...]:
    answer = result.completion
    if answer is None or result.error is not None:
        error = result.error or UnavailableError("no answer came")
        return (None, None, None, None, codes_of(error).openai_code, error.message)
    return (answer.text, answer.finish_reason, answer.num_input_tokens, answer.num_output_tokens, None, None)
