"""Each kind of fault of the simulator, by a small workflow with a mistake that only this kind shows."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import timedelta
from typing import Any, ClassVar

import pytest
from temporalio import workflow
from temporalio.api.common.v1 import Payload
from temporalio.exceptions import ActivityError, ApplicationError, TimeoutError, TimeoutType  # noqa: A004

from tests.workers.explore.test_simulator import LIMIT, ONCE, Till, batches, found, scenario
from workers.testing.explore import variant
from workers.testing.invariants import no_forgotten_effect, nothing_twice
from workers.testing.messages import Say, spoken
from workers.testing.view import View
from workers.testing.world import Activity, Call, Child, World

HEARTBEAT = timedelta(seconds=2)


def till(*faults: str) -> type[Till]:
    """Whose charge can have these faults alone."""

    class Some(Till):
        activities: ClassVar = {
            **Till.activities,
            "charge": Activity(Till.activities["charge"].do, faults=frozenset(faults)),
            "refund": Activity(Till.activities["refund"].do, role="undo", faults=frozenset()),
        }

    return Some


@workflow.defn(name="TrustsADeadline")
class TrustsADeadline:
    """Reads the result after the schedule-to-close time-out; a paused activity may have none by then."""

    @workflow.run
    async def run(self, key: str) -> str:
        charge = workflow.start_activity("charge", key, schedule_to_close_timeout=timedelta(seconds=30))
        await workflow.sleep(60)
        return str(charge.result())


def test_a_paused_activity_outlives_its_deadline() -> None:
    violation = found(scenario(TrustsADeadline, world=till("error"), away=()), traces=4000)
    assert violation.name == "task_never_fails"
    labels = [label for batch in violation.trace for label in batch]
    assert labels == ["charge.1=pause", "charge.1=error", "timer.1"]
    unpaused = "; charge.1=pause; charge.1=error; charge.1=unpause; charge.1=ok"
    assert "charge happens" in scenario(TrustsADeadline).explore(replay=unpaused).story


@workflow.defn(name="TakesFailuresForRefusals")
class TakesFailuresForRefusals:
    """Refunds after a time-out, but not after a failure."""

    @workflow.run
    async def run(self, key: str) -> None:
        try:
            await workflow.execute_activity(
                "charge", key, start_to_close_timeout=LIMIT, heartbeat_timeout=HEARTBEAT, retry_policy=ONCE
            )
        except ActivityError as error:
            if isinstance(error.cause, TimeoutError):
                await workflow.execute_activity("refund", key, start_to_close_timeout=LIMIT)
            raise ApplicationError("It was not charged.") from error


def test_an_attempt_that_a_pause_interrupts_may_have_landed() -> None:
    violation = found(scenario(TakesFailuresForRefusals, no_forgotten_effect, world=till("lost")))
    labels = [label for batch in violation.trace for label in batch]
    assert labels == ["charge.1=pause", "charge.1=interrupted-after"]


@workflow.defn(name="TakesAStallForNothing")
class TakesAStallForNothing:
    """Refunds after a start-to-close time-out, but not after a missing heartbeat."""

    @workflow.run
    async def run(self, key: str) -> None:
        try:
            await workflow.execute_activity(
                "charge", key, start_to_close_timeout=LIMIT, heartbeat_timeout=HEARTBEAT, retry_policy=ONCE
            )
        except ActivityError as error:
            cause = error.cause
            if not (isinstance(cause, TimeoutError) and cause.type == TimeoutType.HEARTBEAT):
                await workflow.execute_activity("refund", key, start_to_close_timeout=LIMIT)
            raise ApplicationError("It was not charged.") from error


def test_an_attempt_without_a_heartbeat_may_have_landed() -> None:
    violation = found(scenario(TakesAStallForNothing, no_forgotten_effect, world=till("lost")))
    assert violation.trace == [[], ["charge.1=stalled-after"]]


@workflow.defn(name="UsesAnIdAgain")
class UsesAnIdAgain:
    """Told to hurry, it drops the charge and starts it again under the same activity id."""

    def __init__(self) -> None:
        self._charge: asyncio.Task[Any] | None = None

    @workflow.run
    async def run(self, key: str) -> None:
        while True:
            self._charge = workflow.start_activity(
                "charge", key, activity_id="charge", start_to_close_timeout=LIMIT, retry_policy=ONCE
            )
            try:
                return await self._charge
            except ActivityError:
                continue

    @workflow.signal
    def hurry(self) -> None:
        if self._charge is not None:
            self._charge.cancel()


def test_an_activity_that_still_runs_keeps_its_id() -> None:
    violation = found(scenario(UsesAnIdAgain, messages=[Say("hurry")]))
    assert violation.name == "task_never_fails"
    assert "ScheduleActivityDuplicateId" in violation.problem
    assert batches(violation) == 1


class _Wallet:
    """Pays by update; `close` ends it."""

    def __init__(self) -> None:
        self.closed, self.paid, self.asked = False, 0, 0

    async def _pay(self, key: str) -> int:
        await workflow.execute_activity("charge", key, start_to_close_timeout=LIMIT)
        self.paid += 1
        return self.paid


@workflow.defn(name="Wallet")
class Wallet(_Wallet):
    """Sound: waits for the updates that it has accepted."""

    @workflow.run
    async def run(self, key: str) -> int:
        await workflow.wait_condition(lambda: self.closed and workflow.all_handlers_finished())
        return self.paid

    @workflow.update
    async def pay(self, key: str) -> int:
        return await self._pay(key)

    @pay.validator
    def check(self, key: str) -> None:
        if self.closed or not key.startswith("p"):
            raise ApplicationError("No.")

    @workflow.signal
    def close(self) -> None:
        self.closed = True


@workflow.defn(name="ForgetsAnUpdate")
class ForgetsAnUpdate(_Wallet):
    """Ends while it still pays."""

    @workflow.run
    async def run(self, key: str) -> int:
        await workflow.wait_condition(lambda: self.closed)
        return self.paid

    @workflow.update
    async def pay(self, key: str) -> int:
        return await self._pay(key)

    @workflow.signal
    def close(self) -> None:
        self.closed = True


@workflow.defn(name="ValidatorWithAMemory")
class ValidatorWithAMemory(_Wallet):
    """Its validator counts; a rejected update is not in the history, so a replay counts otherwise."""

    @workflow.run
    async def run(self, key: str) -> int:
        await workflow.wait_condition(lambda: self.closed)
        if self.asked > 1:
            await workflow.execute_activity("look", start_to_close_timeout=LIMIT)
        return self.paid

    @workflow.update
    async def pay(self, key: str) -> int:
        return self.paid

    @pay.validator
    def check(self, key: str) -> None:
        self.asked += 1
        raise ApplicationError("No.")

    @workflow.signal
    def close(self) -> None:
        self.closed = True


PAY = spoken("pay", "p-1", update=True)
CLOSE = Say("close")
WALLET = scenario(
    Wallet,
    nothing_twice,
    messages=[*PAY, CLOSE],
    closing=[CLOSE],
    world=till("error"),
)


def every_accepted_update_is_answered(view: View) -> str | None:
    open_ones = [name for name, (kind, _) in view.updates.items() if kind == "accepted"]
    return f"It ended, and {', '.join(open_ones)} has no answer." if view.ended and open_ones else None


def test_updates_are_answered_once_whatever_they_say() -> None:
    variant(WALLET, invariants=[nothing_twice, every_accepted_update_is_answered]).explore(traces=300, seed=1)


def test_the_server_answers_an_update_whose_id_it_knows() -> None:
    story = WALLET.explore(replay="; pay; pay-again; charge.1=ok; pay-again; close").story
    assert story.count("update response") == 2  # accepted and completed
    assert WALLET.explore(replay="; close; pay + pay-again").story.count("update response") == 0


def test_a_wrong_update_is_rejected() -> None:
    told: list[dict[str, tuple[str, Any]]] = []

    def look(view: View) -> None:
        told.append(dict(view.updates))

    variant(WALLET, invariants=[look]).explore(replay="; pay-garbage + pay-bare; pay; charge.1=ok; close")
    kinds = {name: kind for name, (kind, _) in told[-1].items()}
    assert kinds == {"pay-garbage-1": "rejected", "pay-bare-1": "rejected", "pay-id": "completed"}


@pytest.mark.filterwarnings("ignore:.*TMPRL1102")
def test_an_update_that_a_run_leaves_behind_is_found() -> None:
    leaving = variant(WALLET, workflow=ForgetsAnUpdate, invariants=[every_accepted_update_is_answered])
    assert batches(found(leaving)) <= 2


def test_a_validator_that_changes_the_state_is_found() -> None:
    violation = found(variant(WALLET, workflow=ValidatorWithAMemory, invariants=[]))
    assert violation.name == "replays"


@workflow.defn(name="BelievesItWasHeard")
class BelievesItWasHeard:
    """Takes a signal that it sent for delivered, and a cancel for done."""

    @workflow.run
    async def run(self, key: str) -> str:
        other = workflow.get_external_workflow_handle("other")
        for send in (other.signal("hello"), other.cancel()):
            try:
                await send
            except ApplicationError:
                continue
        return "told"


class Others(World):
    def __init__(self) -> None:
        super().__init__()
        self.heard = ""

    def signalled(self, target: str, signal: str, payloads: Iterable[Payload]) -> None:
        self.heard = signal


def what_is_told_was_heard(view: View) -> str | None:
    lost = view.ended == "completed" and view.result == "told" and not getattr(view.world, "heard", "")
    return "The signal never arrived." if lost else None


def test_a_signal_to_a_workflow_that_is_gone_is_found() -> None:
    violation = found(scenario(BelievesItWasHeard, what_is_told_was_heard, world=Others))
    assert violation.trace == [[], ["signal.1=missing"]]


def test_a_cancel_of_a_workflow_that_is_gone_fails_too() -> None:
    story = (
        scenario(BelievesItWasHeard, world=Others)
        .explore(replay="; signal.1=delivered; cancel.2=missing")
        .story
    )
    assert "request cancel external workflow execution" in story


@workflow.defn(name="FailsByItsRecord")
class FailsByItsRecord:
    """Charges and records it; when the record fails, it fails, and forgets the charge."""

    @workflow.run
    async def run(self, key: str) -> None:
        await workflow.execute_activity("charge", key, start_to_close_timeout=LIMIT)
        await workflow.execute_local_activity("look", start_to_close_timeout=LIMIT, retry_policy=ONCE)


def test_a_local_activity_that_fails_is_found() -> None:
    violation = found(scenario(FailsByItsRecord, no_forgotten_effect, world=till()))
    assert [label for batch in violation.trace for label in batch] == ["charge.1=ok", "!look.2=fails"]


@workflow.defn(name="TrustsItsChild")
class TrustsItsChild:
    """Takes a child that was terminated for one that did nothing."""

    @workflow.run
    async def run(self, key: str) -> str:
        try:
            await workflow.execute_child_workflow("Clerk", key, id="clerk")
        except Exception:
            raise ApplicationError("The clerk did nothing.") from None
        return "charged"


def _clerk(world: World, call: Call, end: str) -> None:
    if end != "failed":
        world.ledger.do(call.id, "charge")


class Office(Till):
    children: ClassVar = {"Clerk": Child(_clerk)}


def test_a_child_that_was_terminated_may_have_worked() -> None:
    violation = found(scenario(TrustsItsChild, no_forgotten_effect, world=Office))
    assert [label for batch in violation.trace for label in batch] == [
        "child.clerk=started",
        "child.clerk=terminated",
    ]
