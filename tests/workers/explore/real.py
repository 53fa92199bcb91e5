"""A simulated trace and the same trace on a real server, step by step side by side."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from temporalio import activity
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError, CancelledError
from temporalio.worker import Worker

from tests.support import eventually
from workers.testing.driver import quiet
from workers.testing.explore import Scenario
from workers.testing.outstanding import Happening
from workers.testing.server import Server
from workers.testing.world import Call, World

STEERED = {"ok", "error", "error-after", "refused", "lost", "dropped", "late", "lands"}


@dataclass
class Attempt:
    """An attempt of an activity that a worker has begun; `fate` decides what becomes of it."""

    call: Call
    fate: asyncio.Future[str] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Outside:
    """The activities of a real worker: each waits for its fate, and lands in the world of its workflow."""

    def __init__(self) -> None:
        self.worlds: dict[str, World] = {}
        self.attempts: dict[tuple[str, str, int], Attempt] = {}

    def activity(self) -> Any:
        @activity.defn(dynamic=True)
        async def anything(args: Sequence[RawValue]) -> Any:
            info = activity.info()
            name = (
                f"{info.activity_type}.{info.activity_id}" if info.activity_id.isdigit() else info.activity_id
            )
            payloads = [arg.payload for arg in args]
            call = Call(
                info.activity_type, info.activity_id, payloads, activity.payload_converter(), info.attempt
            )
            world = self.worlds[str(info.workflow_id)]
            attempt = self.attempts[str(info.workflow_id), name, info.attempt] = Attempt(call)
            fate = await attempt.fate
            if fate in ("ok", "error-after", "lost"):
                result = _landed(world, call, quietly=fate != "ok")
            if fate == "ok":
                return result
            if fate in ("error", "error-after"):
                raise ApplicationError("It went wrong.", type="Unavailable")
            if fate == "refused":
                raise ApplicationError("No.", type="Refused", non_retryable=True)
            await asyncio.Event().wait()  # nobody hears of it: the attempt times out
            return None

        return anything


def _landed(world: World, call: Call, quietly: bool) -> Any:
    try:
        return world.activities[call.name].do(world, call)
    except ApplicationError:
        if quietly:
            return None
        raise


class Restarted:
    """A worker that can be away for a while."""

    def __init__(self, make: Callable[[], Worker]) -> None:
        self._make = make
        self._worker: Worker | None = None
        self._running: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._worker = self._make()
        self._running = asyncio.create_task(self._worker.run())

    async def stop(self) -> None:
        assert self._worker
        assert self._running
        await self._worker.shutdown()
        await self._running


class SideBySide:
    """Plays one random trace in both places."""

    def __init__(self, scenario: Scenario, client: Client, queue: str, outside: Outside, seed: str) -> None:
        self._scenario, self._client, self._queue, self._outside = scenario, client, queue, outside
        self._random = random.Random(seed)
        self.trace: list[str] = []

    async def run(self) -> tuple[Any, Any]:
        """The ends and the effects: simulated, and real."""
        server, handle = await self._begin()
        steps = self._random.randint(0, 8)
        while not server.over and (chosen := self._choose(server, steps)) is not None:
            steps -= 1
            await self._step(server, handle, [chosen])
        return await self._ends(server, handle)

    async def run_together(
        self, before: list[str], together: list[str], worker: Restarted
    ) -> tuple[Any, Any]:
        """`before` one by one, then `together` while no worker takes workflow tasks."""
        server, handle = await self._begin()
        for label in before:
            await self._step(server, handle, [next(h for h in server.enabled() if h.label == label)])
        await worker.stop()
        both = [next(h for h in server.enabled() if h.label == label) for label in together]
        await self._step(server, handle, both, worker)
        while not server.over and (chosen := self._choose(server, 0)) is not None:
            await self._step(server, handle, [chosen])
        return await self._ends(server, handle)

    def simulate(self) -> list[str]:
        """The trace that `run` of another instance with the same seed will play, without the real server."""
        server, steps = self._simulated(), self._random.randint(0, 8)
        while not server.over and (chosen := self._choose(server, steps)) is not None:
            steps -= 1
            self._take(server, [chosen])
        with quiet():
            server.close()
        return self.trace

    def _simulated(self) -> Server:
        with quiet():
            server = self._scenario.server()
            server.task([])
        server._evictions, server._away, server._may_cancel = 0, {}, self._scenario.native_cancel
        return server

    def _take(self, server: Server, chosen: list[Happening]) -> bool:
        """What was chosen happens in the simulator. Returns whether it made a workflow task."""
        self.trace += [item.label for item in chosen]
        with quiet():
            jobs = [job for item in chosen for job in item.make()]
            if jobs:
                server.task(jobs)
        return bool(jobs)

    async def _begin(self) -> tuple[Server, WorkflowHandle[Any, Any]]:
        server = self._simulated()
        handle = await self._start()
        await self._caught_up(server, handle, 0)
        return server, handle

    async def _step(
        self,
        server: Server,
        handle: WorkflowHandle[Any, Any],
        chosen: list[Happening],
        worker: Restarted | None = None,
    ) -> None:
        """What was chosen happens in both places, in one workflow task."""
        before = await _length(handle)
        attempts = {item.label: item.attempt for item in (*server.activities.values(), *server.in_flight)}
        moved = self._take(server, chosen)
        for item in chosen:
            known = await _length(handle)
            await self._steer(item, handle, attempts, server)
            if worker is not None:
                await eventually(partial(_longer, handle, known))
        if worker is not None:
            await worker.start()
        await self._caught_up(server, handle, before if moved else 0)

    async def _ends(self, server: Server, handle: WorkflowHandle[Any, Any]) -> tuple[Any, Any]:
        for item in list(server.in_flight):
            server.land(item)
            self._lands(handle.id, item.label)
        told = server.result if server.ended == "completed" else server.failure[0]
        simulated = (server.ended, told, _effects(server.world))
        with quiet():
            server.close()
        real = await _end(handle)
        return simulated, (*real, _effects(self._outside.worlds[handle.id]))

    def _choose(self, server: Server, steps: int) -> Happening | None:
        progress = [item for item in server.progress() if not item.label.startswith("timer")]
        if steps <= 0:
            return progress[0] if progress else None
        possible = [item for item in server.enabled() if _can_steer(item)]
        return self._random.choice(possible) if possible else None

    async def _start(self) -> WorkflowHandle[Any, Any]:
        workflow_id = f"side-{uuid.uuid4().hex}"
        self._outside.worlds[workflow_id] = self._scenario.world()
        given = self._scenario.input
        return await self._client.start_workflow(
            self._scenario.code.name, given, id=workflow_id, task_queue=self._queue
        )

    async def _steer(
        self, chosen: Happening, handle: WorkflowHandle[Any, Any], attempts: dict[str, int], server: Server
    ) -> None:
        name, _, fate = chosen.label.rpartition("=")
        if chosen.label == "cancel-run":
            await handle.cancel()
        elif not name:
            say = next(say for say in self._scenario.messages if say.key == chosen.label)
            await handle.signal(say.name, args=say.arguments(server.view))
        elif fate == "lands":
            self._lands(handle.id, name)
        else:
            self._outside.attempts[handle.id, name, attempts[name]].fate.set_result(fate)

    def _lands(self, workflow_id: str, name: str) -> None:
        """A call that nobody waits for arrives; all attempts of an activity are the same call."""
        _landed(
            self._outside.worlds[workflow_id], self._outside.attempts[workflow_id, name, 1].call, quietly=True
        )

    async def _caught_up(self, server: Server, handle: WorkflowHandle[Any, Any], before: int) -> None:
        """The real run has done its task, and has the same attempts under way."""
        wanted = {(handle.id, item.label, item.attempt) for item in server.activities.values()}

        async def there() -> bool:
            described = await handle.describe()
            if described.close_time is not None:
                return bool(server.ended)
            pending = described.raw_description.HasField("pending_workflow_task")
            moved = described.history_length > before
            return not pending and moved and wanted <= self._outside.attempts.keys()

        await eventually(there)


def _can_steer(item: Happening) -> bool:
    name, _, fate = item.label.rpartition("=")
    return fate in STEERED if name else not item.label.startswith("timer")


async def _length(handle: WorkflowHandle[Any, Any]) -> int:
    return (await handle.describe()).history_length


async def _longer(handle: WorkflowHandle[Any, Any], known: int) -> bool:
    return await _length(handle) > known


def _effects(world: World) -> list[str]:
    """What happened, without the keys, which hold the run id."""
    return [line.split(" [")[0].split("/", 1)[-1] for line in world.ledger.log]


async def _end(handle: WorkflowHandle[Any, Any]) -> tuple[str, Any]:
    try:
        return "completed", await handle.result()
    except WorkflowFailureError as error:
        if isinstance(error.cause, CancelledError):
            return "cancelled", ""
        return "failed", getattr(error.cause, "message", "")
