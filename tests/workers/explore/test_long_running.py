"""LongRunningWorkflow, simulated: what it says of each item is what happened to it."""

from __future__ import annotations

from typing import Any, ClassVar

from temporalio.exceptions import ApplicationError

from tests.workers.explore.models import PLATFORM, decision
from workers.patterns.batches.batches import Batch
from workers.patterns.batches.messages import LongRunningInput
from workers.patterns.batches.workflow import LongRunningWorkflow
from workers.patterns.breaker.names import UNAVAILABLE
from workers.testing.explore import Scenario, variant
from workers.testing.invariants import (
    always_waits_for_something,
    history_bounded,
    nothing_twice,
    waits_are_visible,
)
from workers.testing.messages import Say, spoken
from workers.testing.view import View
from workers.testing.world import QUIET_FAULTS, Activity, Call, World

OUTAGES = {1, 4, 5}  # items that meet an outage once
MOST = 3  # results after which an attempt ends early


class Printer(World):
    """Labels items. An outage ends an attempt, with the results so far in the details of its error."""

    def __init__(self) -> None:
        super().__init__()
        self.outages = set(OUTAGES)
        self.calls: list[str] = []

    def digest(self) -> Any:
        return super().digest(), len(self.outages)

    def label(self, call: Call) -> dict[str, Any]:
        batch = call.model(Batch)
        results: list[dict[str, int]] = []
        for index in range(batch.first, batch.first + len(batch.items)):
            if index in self.outages:
                self.outages.discard(index)
                raise ApplicationError("No paper.", results, type=UNAVAILABLE)
            if len(results) == MOST:
                return {"results": results, "more": True}
            self.calls.append(f"{batch.key}/{index}")
            self.ledger.do(f"{batch.key}/{index}", f"item {index}")
            results.append({"index": index, "value": index})
        return {"results": results}

    activities: ClassVar = {
        **PLATFORM,
        "label": Activity(
            lambda world, call: world.label(call),
            faults=frozenset({"error", "dropped"}),
            dependency="printer",
        ),
        "tell": Activity(lambda world, call: None, role="other", faults=QUIET_FAULTS),
    }


class Forgetful(Printer):
    """Its answers get lost too, or come after their time-out."""

    activities: ClassVar = {
        **Printer.activities,
        "label": Activity(
            lambda world, call: world.label(call),
            faults=frozenset({"error", "dropped", "lost", "late", "error-after", "refused"}),
            dependency="printer",
        ),
    }


def no_item_is_said_to_be_done_that_is_not(view: View) -> str | None:
    if view.ended != "completed":
        return None
    happened = len(view.world.ledger.standing())
    if view.result["done"] > happened:
        return f"{view.result['done']} items are said to be done, {happened} happened."
    return None


def no_item_that_is_done_is_said_to_have_failed(view: View) -> str | None:
    if not view.final or view.ended != "completed":
        return None
    happened = len(view.world.ledger.standing())
    if view.result["done"] != happened:
        return f"{view.result['done']} items are said to be done, {happened} happened."
    if len(view.world.calls) != happened:
        return f"Some items were done again: {sorted(view.world.calls)}."
    return None


def the_stage_is_true(view: View) -> str | None:
    stage = view.attributes.get("Stage")
    if view.ended == "cancelled" and stage != "cancelled":
        return f"The run was cancelled, but its Stage is {stage}."
    if view.ended == "completed" and stage != view.result["outcome"]:
        return f"It ended {view.result['outcome']}, but its Stage is {stage}."
    return None


START = LongRunningInput(
    activity="label",
    total=9,
    batch_size=4,
    checkpoint_every=4,
    notify="tell",
    batch_attempts=2,
    failure_limit=1,
    most_events=60,
)
LONG = Scenario(
    LongRunningWorkflow,
    START,
    Printer,
    [
        no_item_is_said_to_be_done_that_is_not,
        no_item_that_is_done_is_said_to_have_failed,
        the_stage_is_true,
        nothing_twice,
        waits_are_visible,
        always_waits_for_something(idle=lambda view: bool(view.query("get_progress")["paused"])),
        history_bounded(events=300),
    ],
    messages=[
        *spoken("pause", decision("pause-1")),
        *spoken("unpause", decision("unpause-1")),
        *spoken("resume", {"dependency": "printer"}),
        Say("cancel", decision("cancel-1")),
    ],
    closing=[
        Say(
            "unpause",
            lambda view: decision(f"unpause-{view.tasks}"),
            when=lambda view: bool(view.query("get_progress")["paused"]),
        )
    ],
)


def test_each_item_is_done_once_and_said_to_be_what_it_is() -> None:
    LONG.explore(traces=250, seed=1)


def test_without_messages_more_attempts_fail() -> None:
    few = [Say("resume", {"dependency": "printer"}, times=3)]
    variant(LONG, messages=few, native_cancel=False, name="batches that fail").explore(traces=250, seed=2)


def test_items_whose_answers_were_lost_are_never_said_to_be_done_when_they_are_not() -> None:
    sure = [one for one in LONG.invariants if one is not no_item_that_is_done_is_said_to_have_failed]
    lost = variant(LONG, world=Forgetful, invariants=sure, name="batches whose answers are lost")
    lost.explore(traces=250, seed=3)
