"""A saga as data: what SagaWorkflow runs. Steps are registered activities, known by their names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from itertools import groupby

from pydantic import Field

from workers.contracts import Money
from workers.patterns.saga.messages import Message, Retry

INVALID_SAGA = "InvalidSaga"
MOST_STEPS = 200
DEEPEST = 5
NAME = re.compile(r"[\w .:-]{1,100}")  # keys and ids are made of it, by / # and ~


class SagaRules(Message):
    """`step_seconds`: one try of a step or an undo. `undo_attempts`: tries before an undo is stuck.
    `held_retry_seconds`: how long a held saga waits, about, before it tries again unasked."""

    step_seconds: float = Field(10, gt=0)
    undo_attempts: int = Field(8, ge=1)
    held_retry_seconds: float = Field(60, gt=0)


class SagaStep(Message):
    """A step: an activity that takes a StepCall, with the undo that takes an UndoCall; or a nested `saga`.

    `name`: how results and people call it; the activity's own when empty. `attempts`: tries before it has
    failed (0: no limit). Steps beside each other with the same `group` run side by side. `undo_retry`: how
    often this undo is tried, when not as the rules say. From `point_of_no_return` on nothing is undone.
    """

    name: str = ""
    activity: str = ""
    input: object = None
    attempts: int = Field(5, ge=0)
    undo: str = ""
    undo_input: object = None
    undo_retry: Retry | None = None
    amount: Money | None = None
    point_of_no_return: bool = False
    group: str = ""
    saga: SagaPlan | None = None

    @property
    def label(self) -> str:
        return self.name or self.activity


class SagaPlan(Message):
    """The argument of SagaWorkflow. `subject`: what it is about, for people."""

    subject: str = ""
    steps: list[SagaStep] = Field(default_factory=list)
    rules: SagaRules = Field(default_factory=SagaRules)

    def activities(self) -> list[str]:
        """Names of all activities and undos, those of nested sagas too, each once."""
        return list(dict.fromkeys(self._activities()))

    def parts(self) -> list[list[SagaStep]]:
        """The steps in order; those in one list run side by side."""
        parts: list[list[SagaStep]] = []
        for group, steps in groupby(self.steps, key=lambda step: step.group):
            part = list(steps)
            parts += [part] if group else [[step] for step in part]
        return parts

    def problems(self) -> list[str]:
        """A sentence for each thing that cannot be run as it is declared."""
        return list(dict.fromkeys(self._problems(1)))

    def _activities(self) -> Iterator[str]:
        for step in self.steps:
            yield from (name for name in (step.activity, step.undo) if name)
            if step.saga is not None:
                yield from step.saga._activities()

    def _problems(self, depth: int) -> Iterator[str]:
        if not self.steps:
            yield "A saga needs at least one step."
        if len(self.steps) > MOST_STEPS:
            yield f"A saga has {MOST_STEPS} steps at most, not {len(self.steps)}; nest some of them."
        if depth > DEEPEST:
            yield f"Sagas are nested {DEEPEST} deep at most."
            return
        labels = Counter(step.label for step in self.steps)
        yield from (f"Two steps are called {label}; give one a name." for label, n in labels.items() if n > 1)
        groups = Counter(part[0].group for part in self.parts() if part[0].group)
        yield from (
            f"The steps of group {group} must stand together." for group, n in groups.items() if n > 1
        )
        for step in self.steps:
            yield from _step_problems(step)
            if step.saga is not None:
                yield from step.saga._problems(depth + 1)


def _step_problems(step: SagaStep) -> Iterator[str]:
    if bool(step.activity) == (step.saga is not None):
        yield f"Step {step.label or '?'} needs either an activity or a saga."
    elif not NAME.fullmatch(step.label):
        yield f"Step {step.label[:100]!r}: a name has up to 100 letters, digits, spaces and any of _ . : -"
    if step.saga is not None and step.undo:
        yield f"Step {step.label}: a nested saga hands back what undoes it, so it has no undo of its own."
    if step.point_of_no_return and step.group:
        yield f"Step {step.label}: a point of no return stands alone, in no group."
