"""The prompts of a Ray Dataset, answered by a pool of servers. Needs the extra `ray`.

from trident_client.ray_data import complete
answers = complete(ray.data.read_parquet("prompts"), ["10.0.0.1:8001", "10.0.0.2:8001"], num_workers=4, max_tokens=64)

Each worker talks to every server. One that dies is replaced by Ray, and the prompts that it had are asked again; a
prompt that was refused has its reason in the column `error`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ray.data import ActorPoolStrategy

from trident_client.batch_frame import FrameJob, answer_frame
from trident_client.connection import Connection
from trident_client.sampling import Sampling, sampling_of
from trident_client.transport import ProtocolName

if TYPE_CHECKING:
    import pandas as pd
    from ray.data import Dataset

_NO_CONNECTION = Connection()


class _Worker:
    """An actor with a client of its own."""

    def __init__(self, job: FrameJob) -> None:
        self._job = job
        self._client = job.open()

    def __call__(self, frame: pd.DataFrame) -> pd.DataFrame:
        return answer_frame(self._client, frame, self._job)


def complete(
    dataset: Dataset,
    urls: str | Sequence[str],
    sampling: Sampling | None = None,
    *,
    num_workers: int = 1,
    batch_size: int = 256,
    prompt_column: str = "prompt",
    protocol: ProtocolName = "grpc",
    max_in_flight: int = 32,
    connection: Connection = _NO_CONNECTION,
    **parameters: Any,
) -> Dataset:
    """The dataset with the columns text, finish_reason, num_input_tokens, num_output_tokens, error_code and error.

    It is lazy, as everything in Ray Data. A worker takes `batch_size` rows at a time, which is also what is asked again
    when it dies, and has `max_in_flight` requests of them open. `parameters` are fields of `Sampling`.

    Raises:
        SettingsError: the column of prompts is missing, or one of the answers' is there.
        InvalidRequestError: an unknown parameter.
    """
    addresses = (urls,) if isinstance(urls, str) else tuple(urls)
    job = FrameJob(addresses, protocol, prompt_column, sampling_of(sampling, parameters), max_in_flight, connection)
    job.check_columns(dataset.columns() or [])
    return dataset.map_batches(
        _Worker,
        fn_constructor_args=(job,),
        batch_size=batch_size,
        batch_format="pandas",
        compute=ActorPoolStrategy(size=num_workers),
        num_cpus=0.1,  # it waits, mostly
    )
