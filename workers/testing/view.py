"""What invariants and messages see of a simulated run: read-only, and queried only when they look."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from workers.testing.world import World

if TYPE_CHECKING:
    from workers.testing.server import Server


class View:
    """`memory`: an invariant's own notes, by its name, for the length of a trace. `final`: nothing more
    comes: the fair continuation has ended too, and all late calls have landed."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.memory: dict[str, Any] = {}
        self.final = False

    @property
    def world(self) -> World:
        return self._server.world

    @property
    def ended(self) -> str:
        """completed, failed or cancelled; "" while the chain of runs is open."""
        return self._server.ended

    @property
    def result(self) -> Any:
        """What the last run returned, as plain JSON."""
        return self._server.result

    @property
    def failure(self) -> tuple[str, str]:
        """Message and type of the failure of a failed run."""
        return self._server.failure

    @property
    def task_failure(self) -> str:
        """Why the workflow task fails; a server repeats it until the code is repaired."""
        return str(self._server.task_failure or "")

    @property
    def tasks(self) -> int:
        """How many workflow tasks there were, in all runs of the chain."""
        return self._server.tasks_done

    @property
    def runs(self) -> int:
        return self._server.runs

    @property
    def events(self) -> int:
        """Estimated length of the history of this run."""
        return self._server.events

    @property
    def history_bytes(self) -> int:
        """Estimated size of the history of this run."""
        return self._server.bytes

    @property
    def started(self) -> list[tuple[int, str, str]]:
        """Every activity that was scheduled: number of the workflow task, name, role in the world."""
        return self._server.started

    @property
    def outstanding(self) -> list[str]:
        """Labels of all that will come without a message: activities, timers, children, signals sent."""
        return [item.label for item in self._server.outstanding()]

    def received(self, *names: str) -> list[tuple[int, str, list[Any]]]:
        """Messages of these names that arrived: number of the task, label, arguments."""
        return [
            (task, label, arguments)
            for task, name, label, arguments in self._server.received
            if not names or name in names
        ]

    @property
    def attributes(self) -> dict[str, Any]:
        """The run's search attributes."""
        return self._server.attributes

    @property
    def waiting_for(self) -> set[str]:
        """The search attribute WaitingFor as a set of its values."""
        value = self._server.attributes.get("WaitingFor")
        values: Iterable[str] = value if isinstance(value, list) else [value] if value else []
        return set(values)

    @property
    def now(self) -> float:
        """Seconds since the chain began."""
        return self._server.clock

    @property
    def run_id(self) -> str:
        """The first run id of the chain."""
        return self._server.run.start.first_run_id

    @property
    def updates(self) -> dict[str, tuple[str, Any]]:
        """Of each update that this chain of runs answered, by its id: accepted, completed, failed or
        rejected; and the result, or the message of the failure."""
        return self._server.updates

    def answers(self, name: str) -> bool:
        """Is there such a query?"""
        return self._server.run.answers(name)

    def query(self, name: str, *arguments: Any) -> Any:
        """The answer as plain JSON; queried once a task. Raises TaskFailed when the handler refuses."""
        return self._server.run.answer(name, arguments, self._server.whole_queries)
