"""What people do with a breaker that works, and who is let go then: with real workers and held workflows."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from temporalio import workflow
from temporalio.client import Client
from temporalio.common import RawValue, SearchAttributePair, TypedSearchAttributes
from temporalio.service import RPCError
from temporalio.testing import ActivityEnvironment

from tests.golden import replays
from tests.support import eventually
from tests.workers.patterns.breaker.guarded_services import Service, act, circuit, fails, reaches
from workers.client.attributes import WAITING_FOR
from workers.contracts import Resume, Status
from workers.patterns.breaker import machine as breaker_machine
from workers.patterns.breaker.activities import Wake, find_held, release_held
from workers.patterns.breaker.config import Report
from workers.patterns.breaker.release import LARGEST_BATCH
from workers.patterns.breaker.workflow import BreakerWorkflow

with workflow.unsafe.imports_passed_through():
    from workers.patterns.decisions import NO_BODY, lenient_signal
    from workers.patterns.guarded_calls import GuardedCalls


@pytest.fixture
def service(client: Client, queue: str, worker: Any) -> Service:
    return Service(client, queue, worker)


def later(seconds: float) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


async def test_forced_open_refuses_all_and_ends_with_a_probe(service: Service) -> None:
    async with service.running():
        shared = await service.breaker()
        await circuit(shared)
        told = await act(shared, "force_open", until=later(600))
        assert (told.outcome, told.by) == ("applied", "ann")
        status = await circuit(shared)
        assert status.forced
        assert (status.state, status.forced.by, status.epoch) == ("OPEN", "ann", 2), "twice sent, once done"
        caller = await service.caller()
        await service.held(caller)
        header = await shared.query("get_status", result_type=Status)
        assert "refused until" in header.summary
        assert "ann: They said so." in header.summary
        refused = await act(shared, "probe")
        assert (refused.outcome, "release it first" in refused.detail) == ("refused", True)
        assert (await act(shared, "release", actor="bob")).outcome == "applied"
        assert await caller.result() == "done"
        assert (await reaches(shared, "CLOSED")).forced is None
        await replays(service.client, shared, "breaker-forced", [BreakerWorkflow])


async def test_forced_closed_admits_whatever_fails_and_runs_out(service: Service) -> None:
    async with service.running():
        shared = await service.breaker()
        await act(shared, "force_close", until=later(600))
        await fails(shared, 50)
        status = await circuit(shared)
        assert (status.state, status.failures) == ("CLOSED", 50)
        soon = await act(shared, "force_close", until=later(1))
        assert soon.outcome in {"applied", "refused"}

        async def over() -> bool:
            if soon.outcome == "refused":  # the machine was so slow that the second had passed
                await act(shared, "release")
            return (await circuit(shared)).forced is None

        await eventually(over)
        status = await circuit(shared)
        assert (status.state, status.failure_count) == ("CLOSED", 0)


async def test_forced_closed_lets_go_whom_it_held(service: Service) -> None:
    async with service.running():
        shared = await service.breaker()
        await fails(shared)
        callers = [await service.caller() for _ in range(3)]
        await service.held(*callers)
        await act(shared, "force_close", until=later(600))
        assert await asyncio.gather(*(caller.result() for caller in callers)) == ["done"] * 3


async def test_an_act_without_a_name_or_a_reason_is_refused_with_a_sentence(service: Service) -> None:
    async with service.running():
        shared = await service.breaker()
        for signal in ("force_open", "force_close", "release", "probe"):
            for lacking in ("actor", "reason"):
                told = await act(shared, signal, **{lacking: ""})
                assert (told.outcome, told.detail) == (
                    "refused",
                    f"Actions on a breaker need {_an(lacking)}.",
                )
            await shared.signal(signal, "garbage")
            await shared.signal(signal)
        assert (await circuit(shared)).epoch == 1


def _an(word: str) -> str:
    return f"an {word}" if word[0] in "aeiou" else f"a {word}"


async def test_a_forced_state_and_verdicts_go_through_continue_as_new(service: Service) -> None:
    async with service.running():
        first = await service.breaker(most_events=40)
        shared = service.client.get_workflow_handle(first.id)
        told = await act(shared, "force_open", decision_id="forced", until=later(600))
        for seq in range(1, 15):
            await shared.signal("report", Report(process="p", seq=seq, epoch=99, calls=1))

        async def renewed() -> bool:
            return (await shared.describe()).run_id != first.result_run_id

        await eventually(renewed)
        status = await circuit(shared)
        assert status.forced
        assert (status.state, status.forced.reason) == ("OPEN", "They said so.")
        again = await act(shared, "force_open", decision_id="forced", until=later(60))
        assert (again, (await circuit(shared)).epoch) == (told, status.epoch)


async def test_a_probe_by_a_chosen_workflow_now(service: Service) -> None:
    async with service.running():
        shared = await service.breaker()
        assert "CLOSED" in (await act(shared, "probe")).detail
        await fails(shared)
        await reaches(shared, "OPEN")
        callers = [await service.caller() for _ in range(3)]
        await service.held(*callers)
        strange = await act(shared, "probe", workflow_id="nobody")
        assert (strange.outcome, strange.detail) == ("refused", "nobody is not held at this breaker.")
        assert (await circuit(shared)).state == "OPEN", "a refused act changes nothing"
        chosen = callers[1].id
        told = await act(shared, "probe", workflow_id=chosen)
        assert (told.outcome, told.detail) == ("applied", f"{chosen} probes.")
        assert await asyncio.gather(*(caller.result() for caller in callers)) == ["done"] * 3
        moves = (await circuit(shared)).transitions
        assert [move.state for move in moves] == ["OPEN", "HALF_OPEN", "CLOSED"]
        assert moves[1].why == "ann requested a probe: They said so."
        await replays(service.client, shared, "breaker-probe", [BreakerWorkflow])


async def test_a_probe_that_fails_leaves_it_open(service: Service) -> None:
    service.down = True
    async with service.running():
        shared = await service.breaker()
        await fails(shared)
        caller = await service.caller()
        await service.held(caller)
        assert (await act(shared, "probe")).outcome == "applied"

        async def probed() -> bool:
            return [move.why for move in (await circuit(shared)).transitions][-1] == "The probe failed."

        await eventually(probed)
        assert service.calls[caller.id] == 1


async def test_a_probe_that_says_nothing_goes_to_another(service: Service) -> None:
    """A bug in the activity says nothing of the dependency: the lease comes back at once."""
    async with service.running():
        shared = await service.breaker()
        await fails(shared)
        callers = [await service.caller() for _ in range(2)]
        await service.held(*callers)
        service.bug = True
        await act(shared, "probe", workflow_id=callers[0].id)
        await eventually(lambda: service.calls[callers[0].id] and service.calls[callers[1].id])
        service.bug = False
        assert await asyncio.gather(*(caller.result() for caller in callers)) == ["done"] * 2


async def test_a_lease_that_nobody_uses_goes_to_another(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(breaker_machine, "PICKUP_SECONDS", 0.5)
    async with service.running():
        shared = await service.breaker()
        await fails(shared)
        deaf = await service.deaf()
        await service.held(deaf)
        caller = await service.caller()
        await service.held(deaf, caller)
        await act(shared, "probe", workflow_id=deaf.id)
        assert await caller.result() == "done"
        await reaches(shared, "CLOSED")
        assert await deaf.query("times") >= 1
        await deaf.terminate()


async def test_release_wakes_again_whom_nobody_woke(service: Service) -> None:
    async with service.running():
        shared = await service.breaker()
        await circuit(shared)
        deaf = await service.deaf()
        await service.held(deaf)
        told = await act(shared, "release")
        assert (told.outcome, told.detail) == ("applied", "Held workflows are released, one first.")
        await eventually(lambda: deaf.query("times"))
        await fails(shared)
        await reaches(shared, "OPEN")
        assert "would be refused" in (await act(shared, "release")).detail
        await deaf.terminate()


async def test_whom_an_older_state_refused_is_let_go_too(service: Service) -> None:
    """A process tells the closed breaker of somebody whom it refused before it knew."""
    async with service.running():
        shared = await service.breaker()
        await circuit(shared)
        deaf = await service.deaf()
        await service.held(deaf)
        await shared.signal("report", Report(process="late", seq=1, refused=1))
        await eventually(lambda: deaf.query("times"))
        await deaf.terminate()


async def test_a_breaker_that_was_ended_is_followed_by_one_that_lets_go(service: Service) -> None:
    async with service.running():
        shared = await service.breaker()
        await fails(shared)
        await reaches(shared, "OPEN")
        callers = [await service.caller() for _ in range(3)]
        await service.held(*callers)
        await shared.terminate()
        await service.breaker()
        assert await asyncio.gather(*(caller.result() for caller in callers)) == ["done"] * 3


async def test_the_oldest_are_let_go_first_and_only_those_that_are_held(
    service: Service, client: Client
) -> None:
    async with service.running():
        held = []
        for _ in range(3):
            held.append(await service.deaf())
            await asyncio.sleep(0.01)  # so that none started in the same millisecond
        await service.held(*held)
        environment = ActivityEnvironment(client=client)
        wake = Wake(dependency=service.dependency, epoch=1)
        assert await environment.run(find_held, wake) == held[0].id
        assert await environment.run(release_held, wake) == 1
        assert [await each.query("times") for each in held] == [1, 0, 0]
        avoiding = wake.model_copy(update={"avoid": [held[0].id, held[1].id]})
        assert await environment.run(find_held, avoiding) == held[2].id
        await held[0].terminate()
        everybody = wake.model_copy(update={"limit": LARGEST_BATCH})
        assert await environment.run(release_held, everybody) == 2, "whatever the list still shows"
        for each in held[1:]:
            await each.terminate()


async def test_one_whose_workers_are_gone_is_asked_last(service: Service, client: Client) -> None:
    waiting = TypedSearchAttributes([SearchAttributePair(WAITING_FOR, [f"breaker:{service.dependency}"])])
    abandoned = await client.start_workflow(
        "Abandoned", id=f"abandoned-{service.dependency}", task_queue="nobody", search_attributes=waiting
    )
    async with service.running():
        deaf = await service.deaf()
        await service.held(abandoned, deaf)
        environment, wake = ActivityEnvironment(client=client), Wake(dependency=service.dependency)
        assert await environment.run(find_held, wake) == deaf.id
        await deaf.terminate()
        assert await environment.run(find_held, wake) == abandoned.id
    await abandoned.terminate()


@workflow.defn
class Trying:
    """Is woken while it still tries, and is refused after that."""

    def __init__(self) -> None:
        self.holds = GuardedCalls(3_600)
        self.leases = 0

    @workflow.run
    async def run(self) -> list[str]:
        await workflow.wait_condition(lambda: self.leases == 2)
        return [await self.holds.wait("payments"), *[await self.holds.wait("payments")]]

    @workflow.signal
    @lenient_signal
    def resume(self, raw: RawValue = NO_BODY) -> None:
        self.holds.resume(raw)
        self.leases += 1


async def test_a_wake_up_during_a_try_is_not_lost(client: Client, queue: str, worker: Any) -> None:
    async with worker(queue, workflows=[Trying]):
        handle = await client.start_workflow(Trying.run, id=f"trying-{queue}", task_queue=queue)
        await handle.signal("resume", Resume(dependency="freight", lease="another's"))
        await handle.signal("resume", Resume(dependency="payments", epoch=3, lease="early"))
        await eventually(lambda: _waits_at(handle, "breaker:payments"))
        await handle.signal("resume", Resume(dependency="payments", epoch=3, lease="in time"))
        with suppress(RPCError):  # the lease may have been used, and the workflow have ended
            await handle.signal("resume", Resume(dependency="payments", epoch=3))
        assert await handle.result() == ["early", "in time"]


async def _waits_at(handle: Any, what: str) -> bool:
    pairs = (await handle.describe()).typed_search_attributes
    return what in (pairs.get(WAITING_FOR) or [])
