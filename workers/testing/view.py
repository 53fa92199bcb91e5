"""What invariants and messages see of a simulated run: read-only, and queried only when they look."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from workers.testing.commands import Execution
from workers.testing.world import World


class View:
    """`memory`: an invariant's own notes, by its name, for the length of a trace. `final`: nothing more
    comes: the fair continuation has ended too, and all late calls have landed."""

    def __init__(self, execution: Execution) -> None:
        self._execution = execution
        self.memory: dict[str, Any] = {}
        self.final = False

    @property
    def world(self) -> World:
        return self._execution.world

    @property
    def ended(self) -> str:
        """completed, failed or cancelled; "" while the chain of runs is open."""
        return self._execution.ended

    @property
    def result(self) -> Any:
        """What the last run returned, as plain JSON."""
        return self._execution.result

    @property
    def failure(self) -> tuple[str, str]:
        """Message and type of the failure of a failed run."""
        return self._execution.failure

    @property
    def task_failure(self) -> str:
        """Why the workflow task fails; a server repeats it until the code is repaired."""
        return str(self._execution.task_failure or "")

    @property
    def tasks(self) -> int:
        """How many workflow tasks there were, in all runs of the chain."""
        return self._execution.tasks_done

    @property
    def runs(self) -> int:
        return self._execution.runs

    @property
    def events(self) -> int:
        """Estimated length of the history of this run."""
        return self._execution.events

    @property
    def history_bytes(self) -> int:
        """Estimated size of the history of this run."""
        return self._execution.bytes

    @property
    def started(self) -> list[tuple[int, str, str]]:
        """Every activity that was scheduled: number of the workflow task, name, role in the world."""
        return self._execution.started

    @property
    def outstanding(self) -> list[str]:
        """Labels of all that will come without a message: activities, timers, children, signals sent."""
        return [item.label for item in self._execution.outstanding()]

    def received(self, *names: str) -> list[tuple[int, str, list[Any]]]:
        """Messages of these names that arrived: number of the task, label, arguments."""
        return [
            (task, label, arguments)
            for task, name, label, arguments in self._execution.received
            if not names or name in names
        ]

    @property
    def attributes(self) -> dict[str, Any]:
        """The run's search attributes."""
        return self._execution.attributes

    @property
    def waiting_for(self) -> set[str]:
        """The search attribute WaitingFor as a set of its values."""
        value = self._execution.attributes.get("WaitingFor")
        values: Iterable[str] = value if isinstance(value, list) else [value] if value else []
        return set(values)

    @property
    def now(self) -> float:
        """Seconds since the chain began."""
        return self._execution.clock

    @property
    def run_id(self) -> str:
        """The first run id of the chain."""
        return self._execution.run.start.first_run_id

    @property
    def updates(self) -> dict[str, tuple[str, Any]]:
        """Of each update that this chain of runs answered, by its id: accepted, completed, failed or
        rejected; and the result, or the message of the failure."""
        return self._execution.updates

    def answers(self, name: str) -> bool:
        """Is there such a query?"""
        return self._execution.run.answers(name)

    def query(self, name: str, *arguments: Any) -> Any:
        """The answer as plain JSON; queried once a task. Raises TaskFailed when the handler refuses."""
        return self._execution.run.answer(name, arguments, self._execution.whole_queries)
