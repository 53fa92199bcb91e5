"""The core of a recovery policy: what each failure asks for, and that every attempt is kept."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from temporalio.exceptions import ApplicationError
from temporalio.exceptions import TimeoutError as TemporalTimeout

from workers.patterns.saga.messages import Retry
from workers.patterns.saga.recovery import (
    MAX_KEPT,
    MAX_MESSAGE,
    TIMEOUT,
    Action,
    Failure,
    Recovery,
    RecoveryPolicy,
    Rule,
    failure_of,
)

NOW = datetime(2026, 1, 2, tzinfo=UTC)
QUICK = Retry(attempts=3, initial_seconds=1, backoff=2, maximum_seconds=3)
POLICY = RecoveryPolicy(
    rules=[
        Rule(errors=["Away", TIMEOUT], retry=QUICK, then=Action.COMPENSATE),
        Rule(errors=["Declined"], action=Action.COMPENSATE),
        Rule(errors=["Away", "Odd"], action=Action.ESCALATE),
    ],
    otherwise=Rule(retry=QUICK),
)


def decided(recovery: Recovery, *kinds: str, retryable: bool = True) -> list[str]:
    return [
        recovery.decide(Failure(type=kind, message="No.", retryable=retryable), NOW).action for kind in kinds
    ]


@pytest.mark.parametrize(
    ("kinds", "actions"),
    [
        (["Away", "Away", "Away"], ["retry", "retry", "compensate"]),
        (["Away", TIMEOUT, "Away"], ["retry", "retry", "compensate"]),
        (["Declined"], ["compensate"]),
        (["Odd"], ["escalate"]),
        (["Other", "Away", "Else", "Other"], ["retry", "retry", "retry", "escalate"]),
    ],
)
def test_the_type_of_the_failure_decides(kinds: list[str], actions: list[str]) -> None:
    assert decided(Recovery(policy=POLICY), *kinds) == actions


def test_waits_grow_and_every_attempt_is_kept() -> None:
    recovery = Recovery(policy=RecoveryPolicy(otherwise=Rule(retry=QUICK.model_copy(update={"attempts": 0}))))
    decided(recovery, *["Away"] * (MAX_KEPT + 5))
    assert recovery.total == MAX_KEPT + 5
    assert [item.number for item in recovery.attempts] == list(range(6, MAX_KEPT + 6))
    assert recovery.attempts[0].wait_seconds == 3
    first = Recovery(policy=POLICY)
    decided(first, "Away", "Away")
    assert [item.wait_seconds for item in first.attempts] == [1, 2]
    assert {(item.error_type, item.message, item.at) for item in first.attempts} == {("Away", "No.", NOW)}


def test_long_messages_are_cut() -> None:
    kept = Recovery(policy=POLICY).decide(Failure(type="Odd", message="x" * 5_000), NOW)
    assert len(kept.message) == MAX_MESSAGE


def test_what_is_non_retryable_is_not_retried_unless_a_rule_names_it() -> None:
    assert decided(Recovery(policy=POLICY), "Other", retryable=False) == ["escalate"]
    assert decided(Recovery(policy=POLICY), "Away", retryable=False) == ["retry"]


def test_after_an_operators_retry_all_retries_are_there_anew() -> None:
    recovery = Recovery(policy=POLICY)
    decided(recovery, "Other", "Other", "Other")
    recovery.begin_again()
    assert decided(recovery, "Other") == ["retry"]
    assert recovery.total == 4


KINDS = st.sampled_from(["Away", "Declined", "Odd", "Other", TIMEOUT])
RULES = st.builds(
    Rule,
    errors=st.lists(KINDS, max_size=3),
    action=st.sampled_from(Action),
    retry=st.builds(Retry, attempts=st.integers(1, 4)),
    then=st.sampled_from(Action),
)


@settings(deadline=None, max_examples=100)
@given(st.builds(RecoveryPolicy, rules=st.lists(RULES, max_size=4), otherwise=RULES), st.lists(KINDS))
def test_retries_come_to_an_end_and_survive_the_wire(policy: RecoveryPolicy, kinds: list[str]) -> None:
    recovery = Recovery(policy=policy)
    possible = {rule.action for rule in (*policy.rules, policy.otherwise)} | {
        rule.then for rule in (*policy.rules, policy.otherwise)
    }
    for number, kind in enumerate(kinds, 1):
        attempt = recovery.decide(Failure(type=kind), NOW)
        assert (attempt.number, attempt.error_type) == (number, kind)
        assert attempt.action in possible | {Action.ESCALATE}
        recovery = Recovery.model_validate_json(recovery.model_dump_json())
    retried = [item for item in recovery.attempts if item.action is Action.RETRY]
    assert len(retried) <= 3 * (len(policy.rules) + 1), "each rule has four attempts at most"


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (ApplicationError("No.", type="Away"), Failure(type="Away", message="No.")),
        (
            ApplicationError("No.", type="Declined", non_retryable=True),
            Failure(type="Declined", message="No.", retryable=False),
        ),
        (ApplicationError("No."), Failure(type="ApplicationError", message="No.")),
        (ValueError("odd"), Failure(type="ValueError", message="odd")),
    ],
)
def test_what_a_failure_says(error: BaseException, failure: Failure) -> None:
    assert failure_of(error) == failure


def test_a_timeout_says_that_the_outcome_is_unknown() -> None:
    said = failure_of(TemporalTimeout("activity timed out", type=None, last_heartbeat_details=[]))
    assert (said.type, said.retryable) == (TIMEOUT, True)
    assert "not known" in said.message
