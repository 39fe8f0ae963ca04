"""A frame of prompts, which is what Spark and Ray hand to a worker."""

from __future__ import annotations

import pytest

from trident.errors import SettingsError, UnavailableError
from trident_client.connection import Connection
from trident_client.sampling import Sampling

pd = pytest.importorskip("pandas", reason="pandas is not installed (pip install 'trident-llm[spark]')")

from trident_client.batch_frame import ANSWER_COLUMNS, FrameJob, answer_frame  # noqa: E402


def job_of(*urls):
    return FrameJob(urls, "grpc", "prompt", Sampling(max_tokens=4), 8, Connection())


def test_every_row_has_its_answer_or_its_reason(servers):
    job = job_of(*[server.grpc_url for server in servers])
    prompts = ["Hi", [{"role": "user", "content": "Hi"}], None, 3, ""]
    frame = pd.DataFrame({"name": list("abcde"), "prompt": prompts}, index=[7, 7, 1, 2, 3])
    with job.open() as client:
        answers = answer_frame(client, frame, job)
    assert list(answers.columns) == ["name", "prompt", *ANSWER_COLUMNS]
    assert list(answers.index) == [7, 7, 1, 2, 3]
    assert list(answers["name"]) == list("abcde")
    assert list(answers["num_output_tokens"][:2]) == [4, 4]
    assert answers["error"].isna().tolist()[:4] == [True, True, False, False]
    assert set(answers["error_code"][2:4]) == {"invalid_value"}
    assert answers["text"].isna().tolist() == answers["error"].notna().tolist()


def test_an_empty_frame_has_the_columns_too(servers):
    job = job_of(servers[0].grpc_url)
    with job.open() as client:
        answers = answer_frame(client, pd.DataFrame({"prompt": []}), job)
    assert list(answers.columns) == ["prompt", *ANSWER_COLUMNS]


def test_without_any_server_the_frame_is_not_answered_at_all():
    job = job_of("127.0.0.1:1")
    with job.open() as client, pytest.raises(UnavailableError):
        answer_frame(client, pd.DataFrame({"prompt": ["Hi"]}), job)


@pytest.mark.parametrize(
    ("columns", "complaint"),
    [(["text_input"], "no column 'prompt'; there are text_input"), (["prompt", "error"], "column error is there")],
)
def test_wrong_columns_are_told_before_anything_is_asked(columns, complaint):
    with pytest.raises(SettingsError, match=complaint):
        job_of("x").check_columns(columns)
