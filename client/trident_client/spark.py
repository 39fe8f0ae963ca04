"""The prompts of a Spark DataFrame, answered by a pool of servers. Needs the extra `spark`.

from trident_client.spark import complete
answers = complete(prompts, ["10.0.0.1:8001", "10.0.0.2:8001"], max_tokens=64)

Each task talks to every server. A task that is lost with its executor is run again by Spark, and its prompts are asked
again; a prompt that was refused has its reason in the column `error`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from pyspark.sql.types import IntegerType, StringType, StructField, StructType

from trident_client.batch_frame import ANSWER_COLUMNS, FrameJob, answer_frame
from trident_client.connection import Connection
from trident_client.sampling import Sampling, sampling_of
from trident_client.transport import ProtocolName

if TYPE_CHECKING:
    import pandas as pd
    from pyspark.sql import DataFrame

_TYPES = {"object": StringType(), "Int32": IntegerType()}
_NO_CONNECTION = Connection()


def complete(
    frame: DataFrame,
    urls: str | Sequence[str],
    sampling: Sampling | None = None,
    *,
    prompt_column: str = "prompt",
    protocol: ProtocolName = "grpc",
    max_in_flight: int = 32,
    connection: Connection = _NO_CONNECTION,
    **parameters: Any,
) -> DataFrame:
    """The frame with the columns text, finish_reason, num_input_tokens, num_output_tokens, error_code and error.

    It is lazy, as everything in Spark: cache or write it before it is used twice. `max_in_flight` is of each task;
    there are as many tasks at a time as the cluster has cores. `parameters` are fields of `Sampling`.

    Raises:
        SettingsError: the column of prompts is missing, or one of the answers' is there.
        InvalidRequestError: an unknown parameter.
    """
    addresses = (urls,) if isinstance(urls, str) else tuple(urls)
    job = FrameJob(addresses, protocol, prompt_column, sampling_of(sampling, parameters), max_in_flight, connection)
    job.check_columns(frame.columns)
    answers = [StructField(name, _TYPES[dtype]) for name, dtype in ANSWER_COLUMNS.items()]

    def answer(frames: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        with job.open() as client:
            for each in frames:
                yield answer_frame(client, each, job)

    return frame.mapInPandas(answer, StructType([*frame.schema.fields, *answers]))
