"""A saga as data: what SagaWorkflow runs. Steps are registered activities, known by their names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from itertools import groupby

from pydantic import BaseModel, Field
from pydantic_core import to_json

from workers.contracts import Money
from workers.patterns.saga.messages import Retry
from workers.patterns.saga.recovery import RecoveryPolicy

INVALID_SAGA = "InvalidSaga"
MOST_STEPS = 200
DEEPEST = 5
MAX_RESULTS_BYTES = 1_000_000
"""Of all results of a saga together, as its own result holds them; a payload has 2 MB at most."""
MAX_INPUT_BYTES = 20_000_000
"""Of the inputs of all steps, with the results that they need, as each stands in the history."""
NAME = re.compile(r"[\w .:-]{1,100}")  # keys and ids are made of it, by / # and ~


class SagaRules(BaseModel):
    """`step_seconds`: start-to-close timeout of a step or a compensation. `undo_attempts`: of a
    compensation, before it is stuck. `held_retry_seconds`: until a held saga retries by itself, varied by a
    quarter. `max_result_bytes`: of one step's result, as JSON; a larger one fails the saga, which is then
    compensated."""

    step_seconds: float = Field(10, gt=0)
    undo_attempts: int = Field(8, ge=1)
    held_retry_seconds: float = Field(60, gt=0)
    max_result_bytes: int = Field(16_384, ge=1, le=MAX_RESULTS_BYTES)


class SagaStep(BaseModel):
    """A step: an activity that takes a StepCall, with the undo that takes an UndoCall; or a nested `saga`.

    `name`: how results and people call it; the activity's own when empty. `needs`: names of earlier steps
    whose results it gets. `attempts`: before it has failed (0: no limit). `recovery`: what to do about
    failures by the type of their error, instead of `attempts`. Steps beside each other with the same
    `group` run side by side. `undo_retry`: of this compensation, when not as the rules say. `undo_after`:
    names of later steps that must be undone before this one; None: all of them. From `point_of_no_return`
    on nothing is undone."""

    name: str = ""
    activity: str = ""
    input: object = None
    needs: list[str] = Field(default_factory=list)
    attempts: int = Field(0, ge=0)
    recovery: RecoveryPolicy | None = None
    undo: str = ""
    undo_input: object = None
    undo_retry: Retry | None = None
    undo_after: list[str] | None = None
    amount: Money | None = None
    point_of_no_return: bool = False
    group: str = ""
    saga: SagaPlan | None = None

    @property
    def label(self) -> str:
        return self.name or self.activity


class SagaPlan(BaseModel):
    """The argument of SagaWorkflow. `subject`: what it is about, for people."""

    subject: str = ""
    steps: list[SagaStep] = Field(default_factory=list)
    rules: SagaRules = Field(default_factory=SagaRules)

    def activities(self) -> list[str]:
        """Names of all activities and undos, those of nested sagas too, each once."""
        names: list[str] = []
        for step in self.steps:
            names += [step.activity, step.undo, *(step.saga.activities() if step.saga else [])]
        return list(dict.fromkeys(filter(None, names)))

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
        yield from self._unknown_names()
        if self._input_bytes() > MAX_INPUT_BYTES:
            yield (
                f"With the results that steps need, their inputs may reach {self._input_bytes():,} bytes, and"
                f" the history would outgrow its limit; {MAX_INPUT_BYTES:,} are allowed. Need fewer results,"
                " lower max_result_bytes, or nest some of the steps."
            )
        for step in self.steps:
            yield from _step_problems(step)
            if step.saga is not None:
                yield from step.saga._problems(depth + 1)

    def _unknown_names(self) -> Iterator[str]:
        labels = [step.label for step in self.steps]
        for number, step in enumerate(self.steps):
            for name in set(step.needs) - set(labels[:number]):
                yield f"Step {step.label} needs the result of {name}, which is no step before it."
            for name in set(step.undo_after or []) - set(labels[number + 1 :]):
                yield f"Step {step.label} is undone after {name}, which is no step after it."

    def _input_bytes(self) -> int:
        """The most that the inputs of all steps can come to in the history."""
        needed = sum(len(step.needs) for step in self.steps) * self.rules.max_result_bytes
        return needed + sum(len(to_json([step.input, step.undo_input, step.saga])) for step in self.steps)


def _step_problems(step: SagaStep) -> Iterator[str]:
    if bool(step.activity) == (step.saga is not None):
        yield f"Step {step.label or '?'} needs either an activity or a saga."
    elif not NAME.fullmatch(step.label):
        yield f"Step {step.label[:100]!r}: a name has up to 100 letters, digits, spaces and any of _ . : -"
    if step.saga is not None and step.undo:
        yield f"Step {step.label}: a nested saga hands back what undoes it, so it has no undo of its own."
    if step.amount is not None and not (step.undo or step.point_of_no_return):
        yield f"Step {step.label} has an amount, so it needs an undo, or is a point of no return."
    if step.point_of_no_return and step.group:
        yield f"Step {step.label}: a point of no return stands alone, in no group."
