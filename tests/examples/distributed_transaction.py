"""A distributed transaction as data: create an account, tell its owner, update the directory, or nothing."""

from __future__ import annotations

from temporalio import activity

from workers.contracts import Money
from workers.contracts.effects import effect_refused
from workers.patterns.saga.messages import Retry, StepCall, UndoCall
from workers.patterns.saga.plan import SagaPlan, SagaStep

done: dict[str, str] = {}
withdrawn: set[str] = set()


def once(key: str, what: str) -> str:
    """An effect of a service that keeps its word: at most once a key, and never after its undo."""
    if key in withdrawn:
        raise effect_refused("It was withdrawn.", type="Withdrawn")
    return done.setdefault(key, what)


def undone(key: str) -> None:
    withdrawn.add(key)
    done.pop(key, None)


@activity.defn
async def create_account(call: StepCall) -> dict[str, str]:
    return {"account": once(call.idempotency_key, f"account of {call.input['owner']}")}


@activity.defn
async def close_account(call: UndoCall) -> None:
    undone(call.idempotency_key)


@activity.defn
async def notify_owner(call: StepCall) -> None:
    once(call.idempotency_key, f"letter about the {call.results['create_account']['account']}")


@activity.defn
async def update_directory(call: StepCall) -> None:
    if call.input["owner"] == "nobody":
        raise effect_refused("The directory has no entry for nobody.")
    once(call.idempotency_key, "entry")


@activity.defn
async def forget_entry(call: UndoCall) -> None:
    undone(call.idempotency_key)


ACTIVITIES = [create_account, close_account, notify_owner, update_directory, forget_entry]


def opening(owner: str, fee: Money) -> SagaPlan:
    return SagaPlan(
        subject=f"Account of {owner}",
        steps=[
            SagaStep(
                activity="create_account",
                input={"owner": owner},
                undo="close_account",
                undo_retry=Retry(attempts=20, maximum_seconds=60),
                amount=fee,
            ),
            SagaStep(activity="notify_owner", needs=["create_account"], group="tell"),
            SagaStep(activity="update_directory", input={"owner": owner}, undo="forget_entry", group="tell"),
        ],
    )
