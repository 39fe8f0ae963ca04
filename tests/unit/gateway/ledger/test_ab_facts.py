"""What the ledger knows of each deployment: its own failures, its answers, its judgements and its copies."""

import pytest

from tests.unit.gateway.ledger.outcomes import DEPLOYMENTS, outcome_of
from trident.errors import EngineError, InvalidRequestError, UnavailableError
from trident.gateway.asked import Decision
from trident.gateway.comparison import Comparison
from trident.gateway.ledger.ab_facts import read_arm, read_shadows
from trident.gateway.ledger.tables import add_feedback

BOTH = Decision("smollm2", ("main", "spare"), ())


def arm_of(database, deployment="main", version="7", since=0.0):
    return database.run(lambda connection: read_arm(connection, "smollm2", deployment, version, since))


def test_a_failure_counts_for_the_deployment_that_failed_and_the_answer_for_the_one_that_gave_it(deployed):
    async def test(ledger, database):
        ledger.ended(outcome_of("a", decision=BOTH, deployment="spare", failures={"main": UnavailableError("gone")}))
        ledger.ended(outcome_of("b", failures={"main": EngineError("no")}, error=EngineError("no"), completion=None))
        await ledger.flush()
        return await arm_of(database), await arm_of(database, "spare", "")

    main, spare = deployed(test)
    assert (main.num_requests, main.num_errors, main.latency_s.size) == (2, 2, 0)
    assert (spare.num_requests, spare.num_errors, spare.num_output_tokens) == (1, 0, 2)
    assert (spare.latency_s.tolist(), spare.price.tolist(), spare.total_price) == ([2.0], [0.25], 0.25)


def test_what_the_client_did_wrong_is_no_error_and_who_left_has_no_latency(deployed):
    async def test(ledger, database):
        ledger.ended(outcome_of("a", error=InvalidRequestError("no"), completion=None))
        ledger.ended(outcome_of("b", is_cancelled=True, ttft_s=0.5))
        ledger.ended(outcome_of("c", error=EngineError("broke"), ttft_s=0.7))
        await ledger.flush()
        return await arm_of(database)

    arm = deployed(test)
    assert (arm.num_requests, arm.num_errors, arm.num_cancelled, arm.latency_s.size) == (3, 1, 1, 0)
    assert sorted(arm.ttft_s) == [0.5, 0.7]


def test_cost_is_the_engine_s_seconds_and_counts_what_runs_there_now_only(deployed):
    async def test(ledger, database):
        ledger.ended(outcome_of("a"))
        ledger.update({"main": DEPLOYMENTS["main"].model_copy(update={"version": "8"})})
        ledger.ended(outcome_of("b", started_at=5000.0))
        ledger.ended(outcome_of("c", started_at=9000.0))
        await ledger.flush()
        return [await arm_of(database, version=version) for version in "78"], await arm_of(
            database, "main", "8", 6000.0
        )

    (seven, eight), late = deployed(test)
    assert (seven.num_requests, eight.num_requests, late.num_requests) == (1, 2, 1)
    assert (seven.total_cost, seven.cost.tolist()) == (0.75, [0.75])


def test_the_last_judgement_of_each_key_counts(deployed):
    async def test(ledger, database):
        ledger.ended(outcome_of("a"))
        await ledger.flush()
        judgement = {"request_id": "a", "tenant": "default", "created_at": 1.0, "thumb": None, "text": None}
        for key_id, score in (("one", 1.0), ("two", 0.0), ("two", 0.5)):
            row = {**judgement, "key_id": key_id, "score": score}
            await database.run(lambda connection, row=row: add_feedback(connection, row))
        return await arm_of(database)

    arm = deployed(test)
    assert (arm.num_feedback, sorted(arm.feedback)) == (2, [0.5, 1.0])


def test_copies_are_counted_by_how_they_compared(deployed):
    told = [Comparison("equal", "", 0.5, 2)] * 3 + [Comparison("different", "shadow", 1.5, -2)]
    told += [Comparison("failed", "real"), None, None]

    async def test(ledger, database):
        for number, comparison in enumerate(told):
            ledger.compared(outcome_of(f"{number}"), "copy", comparison)
        await ledger.flush()
        versions = {"main": "7", "copy": ""}
        found = await database.run(lambda connection: read_shadows(connection, "smollm2", versions, 0.0))
        others = await database.run(lambda connection: read_shadows(connection, "smollm2", {"main": "8"}, 0.0))
        return found, others

    found, others = deployed(test)
    arm = found["main", "copy"]
    assert others == {}
    assert (arm.num_compared, arm.num_equal, arm.num_failed, arm.num_left_out) == (5, 3, 1, 2)
    assert (arm.num_won, arm.num_lost) == (1, 1)
    assert arm.added_latency_s.mean() == pytest.approx(0.75)
    assert arm.added_chars.mean() == pytest.approx(1.0)


def test_a_deployment_that_nobody_asked_has_nothing(deployed):
    async def test(ledger, database):
        return await arm_of(database, "nobody")

    arm = deployed(test)
    assert (arm.num_requests, arm.total_cost, arm.ttft_s.size, arm.num_feedback) == (0, 0.0, 0, 0)
