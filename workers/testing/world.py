"""The world outside of a simulated workflow: what really happened, whatever the workflow got as an answer.

Modelled activities are plain functions `(world, call) -> result`; the explorer decides whether a call lands
and whether its answer arrives. The ledger keeps effects by idempotency key, and a tombstone where one was
undone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, TypeVar

from temporalio.api.common.v1 import Payload
from temporalio.converter import PayloadConverter
from temporalio.exceptions import ApplicationError

T = TypeVar("T")

FAULTS = frozenset({"lost", "dropped", "late", "error", "error-after", "refused"})
"""What may go wrong with a modelled activity unless its model says otherwise: the answer is lost after the
effect; the call is lost before it; the call arrives after its time-out; a retryable error before, or after
the effect; a non-retryable error that says nothing of the effect. More by name: `declined` (a gateway says
that nothing is under the idempotency key, and never will be), `refused-after` (the platform fails a
finished activity)."""
QUIET_FAULTS = frozenset({"lost", "error"})
"""For activities that change nothing outside."""


@dataclass
class Call:
    """One attempt of an activity, or one child workflow, as the world sees it.

    `again`: there was an attempt before this one, which a reset of `attempt` does not hide.
    """

    name: str
    id: str
    payloads: list[Payload]
    converter: PayloadConverter
    attempt: int = 1
    again: bool = False
    headers: Mapping[str, Payload] = field(default_factory=dict)
    workflow_id: str = ""
    queue: str = ""
    details: tuple[float, float, float] = (0, 0, 0)
    """Start-to-close, schedule-to-close and heartbeat time-outs, in seconds."""

    @cached_property
    def input(self) -> Any:
        """The first argument as plain JSON; None without one."""
        return self.converter.from_payloads(self.payloads[:1])[0] if self.payloads else None

    def model(self, kind: type[T]) -> T:
        """The first argument as `kind`."""
        value: T = self.converter.from_payloads(self.payloads[:1], [kind])[0]
        return value


@dataclass
class Effect:
    """What stands in the ledger under one key: `state` is done, undone or tombstone (undone before it
    came)."""

    key: str
    what: str
    state: str = "done"
    undo_keys: set[str] = field(default_factory=set)
    undone: int = 0
    """How often a gateway would have undone it that knows undos by their key alone."""


class Ledger:
    """Effects and undos as a gateway keeps them: the same key is one effect, an undo leaves a tombstone."""

    def __init__(self) -> None:
        self.effects: dict[str, Effect] = {}
        self.log: list[str] = []

    def do(self, key: str, what: str) -> bool:
        """True: it happened now; False: it had before, under this key. Raises the non-retryable Withdrawn."""
        known = self.effects.get(key)
        if known is None:
            self.effects[key] = Effect(key, what)
            self.log.append(f"{what} happens [{key}]")
            return True
        if known.state != "done":
            self.log.append(f"{what} is refused, it was undone [{key}]")
            raise ApplicationError("This key was undone.", type="Withdrawn", non_retryable=True)
        return False

    def undo(self, key: str, undo_key: str, what: str = "") -> bool:
        """True: there was something to undo. Also where nothing happened a tombstone stays."""
        known = self.effects.get(key)
        if known is None:
            self.effects[key] = Effect(key, what, "tombstone", {undo_key})
            self.log.append(f"{what or key} is barred, it had not happened [{undo_key}]")
            return False
        first = undo_key not in known.undo_keys
        known.undo_keys.add(undo_key)
        known.undone += first and known.state != "tombstone"
        if known.state == "done":
            known.state = "undone"
            self.log.append(f"{known.what} is undone [{undo_key}]")
            return True
        if first and known.state == "undone":
            self.log.append(f"{known.what} is undone AGAIN under another key [{undo_key}]")
        return False

    def standing(self) -> list[Effect]:
        """What happened and was not undone."""
        return [effect for effect in self.effects.values() if effect.state == "done"]

    def digest(self) -> Any:
        return tuple((key, effect.state, len(effect.undo_keys)) for key, effect in self.effects.items())


Do = Callable[[Any, Call], Any]


@dataclass(frozen=True)
class Activity:
    """A model of an activity. `do`: what a call that arrives does, atomically, and what it answers, or
    raises.

    `role`: "step" for a forward effect, "undo", or "other". `dependency`: the breaker in front of it, which
    may refuse. `refusals`: makers of the non-retryable errors with which it may refuse. `most_faults`: of one
    execution. `faults`: names as in FAULTS.
    """

    do: Do
    role: str = "step"
    faults: frozenset[str] = FAULTS
    dependency: str = ""
    refusals: tuple[Callable[[], ApplicationError], ...] = ()
    most_faults: int = 2


@dataclass(frozen=True)
class Child:
    """A model of a child workflow type. `do(world, call, end)` does what a child that ends like `end`
    ("completed", "failed", "cancelled", "terminated") has done outside, and returns its result; what it
    raises instead is how a failed one failed. `ends`: those that can happen. `exists`: its id may be
    taken."""

    do: Callable[[Any, Call, str], Any]
    ends: tuple[str, ...] = ("completed", "failed", "terminated")
    exists: bool = True


class World:
    """Base of all worlds; a new one is made for every trace."""

    activities: ClassVar[Mapping[str, Activity]] = {}
    children: ClassVar[Mapping[str, Child]] = {}

    def __init__(self) -> None:
        self.ledger = Ledger()

    def signalled(self, target: str, signal: str, payloads: Iterable[Payload]) -> None:
        """A signal of the workflow reached another one."""

    def digest(self) -> Any:
        """Hashable: what makes two states of this world different."""
        return self.ledger.digest()
