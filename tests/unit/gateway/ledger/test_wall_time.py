"""What requests are charged is never more than the time in which any was there, however many processes charge."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import create_engine, insert, select

from trident.gateway.database import metadata
from trident.gateway.ledger.tables import requests
from trident.gateway.ledger.usage import usage
from trident.gateway.ledger.wall_time import shares

ROW = {
    "tenant": "t", "key_id": "k", "api": "chat", "operation": "chat", "asked_model": "m", "model": "m", "version": "",
    "finish_reason": "stop", "error": "", "num_input_tokens": 1, "num_output_tokens": 1, "num_cached_tokens": 0,
    "price": 0.0, "cache": "",
}  # fmt: skip


def with_rows(spans, read):
    """`spans`: (deployment, begin, duration, engine seconds); cost is 2 a second."""
    engine = create_engine("sqlite://")
    metadata.create_all(engine, [requests, metadata.tables["feedback"]])
    rows = [
        {**ROW, "request_id": str(number), "deployment": deployment, "ended_at": begin + took, "duration_s": took,
         "engine_s": engine_s, "cost": 2 * engine_s}
        for number, (deployment, begin, took, engine_s) in enumerate(spans)
    ]  # fmt: skip
    with engine.begin() as connection:
        if rows:
            connection.execute(insert(requests), rows)
        found = read(connection)
    engine.dispose()
    return found


def shares_of(connection):
    found = shares(0.0, 1e9)
    return dict(connection.execute(select(found.c.deployment, found.c.share)).all())


def test_what_one_process_charges_is_left_as_it_is():
    """Two requests that share four of their six seconds."""
    assert with_rows([("a", 100, 6, 4.0), ("a", 102, 4, 2.0)], shares_of) == {"a": 1.0}


def test_seconds_that_two_processes_charge_are_charged_once():
    spans = [("a", 100, 10, 10.0), ("a", 100, 10, 10.0), ("a", 200, 5, 5.0), ("b", 100, 10, 10.0)]
    found = with_rows(spans, shares_of)
    assert found == {"a": pytest.approx(15 / 25), "b": 1.0}
    (total,) = with_rows(spans, lambda connection: usage(connection, ["tenant"], 0.0, 1e9))
    assert (total["engine_s"], total["cost"]) == (pytest.approx(25), pytest.approx(50))
    (of_a, _) = with_rows(spans, lambda connection: usage(connection, ["deployment"], 0.0, 1e9))
    assert sorted([of_a["engine_s"], 10]) == [10, pytest.approx(15)]


def test_an_answer_from_the_cache_takes_no_time():
    (row,) = with_rows([("", 100, 1, 0.0)], lambda connection: usage(connection, ["deployment"], 0.0, 1e9))
    assert (row["requests"], row["engine_s"], row["cost"]) == (1, 0.0, 0.0)


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 50), st.integers(0, 20), st.integers(0, 20)), max_size=12)
)
def test_no_sum_is_more_than_the_wall_s(spans):
    """Against the seconds counted one by one."""
    found = with_rows(spans, shares_of)
    for name in {each[0] for each in spans}:
        mine = [each for each in spans if each[0] == name]
        busy_s = len({second for _, begin, took, _ in mine for second in range(begin, begin + took)})
        charged_s = sum(each[3] for each in mine)
        assert charged_s * found[name] == pytest.approx(min(busy_s, charged_s), abs=1e-6)
