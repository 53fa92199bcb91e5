"""A trace as a story for people: what arrived in each workflow task, what was commanded, what happened
outside."""

from __future__ import annotations

import json
from typing import Any

from temporalio.bridge.proto.workflow_commands import WorkflowCommand

from workers.testing.driver import TaskFailed, kind_of
from workers.testing.server import Server

MOST = 160
NAMING = ("activity_type", "activity_id", "workflow_type", "workflow_id", "signal_name", "patch_id", "seq")
"""Fields of commands."""
QUERIES = ("get_status", "get_saga_status", "get_approval_status", "status", "get_circuit_status")


class Story:
    """Collects the lines while a trace runs; `queries`: zero-argument queries whose answers it shows."""

    def __init__(self, server: Server, queries: tuple[str, ...] = QUERIES) -> None:
        self._server, self._queries = server, queries
        self._lines: list[str] = []
        self._seen = self._tasks = self._story = 0

    def tell(self, labels: list[str]) -> None:
        """After a batch."""
        server = self._server
        if not labels and server.tasks_done == self._tasks:
            return
        outside = server.world.ledger.log[self._seen :]
        self._seen += len(outside)
        number = f"{server.tasks_done:3}." if server.tasks_done != self._tasks else "    "
        self._tasks = server.tasks_done
        self._lines.append(f"{number} at {server.clock:.1f} s: {' + '.join(labels) or 'the run begins'}")
        self._lines += [f"       commands  {text}" for text in self._commands()]
        self._lines += [f"       outside   {line}" for line in outside]
        if server.task_failure:
            self._lines.append(f"       the workflow task FAILS: {str(server.task_failure)[:600]}")
            return
        for name in self._queries:
            if server.view.answers(name):
                self._lines.append(f"       {name} -> {_answer(server, name)}")
        if server.attributes:
            self._lines.append(f"       attributes {json.dumps(server.attributes, default=str)[:MOST]}")
        if server.ended:
            end = server.failure if server.ended == "failed" else json.dumps(server.result, default=str)
            self._lines.append(f"       the run ends: {server.ended} {str(end)[: 2 * MOST]}")

    def _commands(self) -> list[str]:
        """Those since the last time, of all runs of the chain."""
        tasks = [task for run in self._server.chain for task in run.tasks]
        new, self._story = tasks[self._story :], len(tasks)
        return [described(command) for task in new for command in task.commands]

    def __str__(self) -> str:
        return "\n".join(self._lines)


def _answer(server: Server, name: str) -> str:
    try:
        answer = server.view.query(name)
    except TaskFailed as error:
        return f"refused: {error}"
    if name == "get_saga_status" and isinstance(answer, dict):
        return f"{answer['state']}: " + ", ".join(_step(step) for step in answer["steps"])
    if isinstance(answer, dict):
        answer = {key: value for key, value in answer.items() if value not in (None, "", [], {}, 0)}
    return json.dumps(answer, default=str)[:MOST]


def _step(step: dict[str, Any]) -> str:
    undo = step.get("compensation")
    text = f"{step['name']} {step['status']}"
    return f"{text} (undo {undo['status']})" if undo and undo["status"] != "pending" else text


def described(command: WorkflowCommand) -> str:
    """One line on a command."""
    kind = kind_of(command)
    value = getattr(command, kind)
    words = [kind.replace("_", " ")]
    words += [str(getattr(value, field)) for field in NAMING if getattr(value, field, "")]
    if kind == "start_timer":
        words.append(f"for {value.start_to_fire_timeout.ToNanoseconds() / 1e9:g} s")
    if kind == "upsert_workflow_search_attributes":
        fields = value.search_attributes.indexed_fields
        words += [f"{name}={payload.data.decode()}" for name, payload in sorted(fields.items())]
    return " ".join(words)[:MOST]
