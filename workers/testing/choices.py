"""How a trace chooses what happens: at random from a seed, by a script, or all of it to a depth; and
shrinking.

A trace is a list of batches; a batch is the labels of what happens before one workflow task, in order. As
text: `charge=ok; cancel + book=ok + !resume`. `!` marks what arrives while the task that closes the run is
under way.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from workers.testing.outstanding import Happening

Trace = list[list[str]]
Enabled = Callable[[], list[Happening]]
"""Returns what can happen now; a callable, as that takes a while to find out."""

FAULT_KINDS = (
    *("lost", "dropped", "late", "error", "error-after", "refused", "declined", "refused-after", "open"),
    *("reset", "pause", "heartbeat", "message", "odd-message", "cancel-run", "child-fault"),
    *("external-fault", "local-fault", "evict", "away", "meanwhile"),
)
UNBOUND = {"message", "odd-message", "cancel-run", "evict", "away"}
"""Kinds that can come at any time."""


def written(trace: Trace) -> str:
    """The trace as text, for `replay`."""
    return "; ".join(" + ".join(batch) for batch in trace)


def parsed(text: str) -> Trace:
    """The trace that `written` wrote."""
    return [[label for label in batch.split(" + ") if label] for batch in text.split("; ")]


class Chooser(Protocol):
    """Decides a trace. `more`: another batch? `pick`: the next of this batch, None to end it. `meanwhile`:
    what arrives while a closing task is under way. `local`: does this local activity work?"""

    def more(self) -> bool: ...
    def pick(self, enabled: Enabled, batch: list[str]) -> Happening | None: ...
    def meanwhile(self, enabled: list[Happening]) -> list[Happening]: ...
    def local(self, label: str) -> bool: ...


@dataclass
class Scripted:
    """By labels. What is not possible (any more) is left out, so that a shortened script is a script too.
    `loose`: the same happening under another number will do, as what came before may have been left out."""

    trace: Trace
    loose: bool = False
    _batch: list[str] = field(default_factory=list)
    _at: int = 0

    def more(self) -> bool:
        if self._at >= len(self.trace):
            return False
        self._batch = list(self.trace[self._at])
        self._at += 1
        return True

    def pick(self, enabled: Enabled, batch: list[str]) -> Happening | None:
        while self._batch and not self._batch[0].startswith("!"):
            label = self._batch.pop(0)
            possible = {happening.label: happening for happening in enabled()}
            if label in possible:
                return possible[label]
            if self.loose:
                alike = (name for name in possible if _unnumbered(name) == _unnumbered(label))
                if name := next(alike, ""):
                    return possible[name]
        return None

    def meanwhile(self, enabled: list[Happening]) -> list[Happening]:
        wanted = {label[1:] for label in self._batch if label.startswith("!")}
        return [happening for happening in enabled if happening.label in wanted]

    def local(self, label: str) -> bool:
        return f"!{label}=fails" not in self._batch


class Random:
    """Swarm testing: each trace draws which kinds of faults it uses, how often, and how much comes
    together."""

    def __init__(self, seed: str, steps: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 (a test's choices must be repeatable)
        share = self._random.choice((0.15, 0.35, 0.6, 1.0))
        self._kinds = {kind for kind in FAULT_KINDS if self._random.random() < share}
        self._rate = self._random.choice((0.1, 0.3, 0.6, 0.9))
        self._together = self._random.choice((0.1, 0.4, 0.7))
        self._left = self._random.randint(1, steps)
        self._batches, self._stopped = 0, False
        self._earliest: dict[str, int] = {}  # messages would else all come at the very beginning

    def more(self) -> bool:
        self._left -= 1
        self._batches += 1
        return self._left >= 0 and not self._stopped

    def pick(self, enabled: Enabled, batch: list[str]) -> Happening | None:
        if batch and (len(batch) > 3 or self._random.random() > self._together):
            return None
        possible = enabled()
        faults = [item for item in possible if item.kind in self._kinds and self._due(item)]
        progress = [item for item in possible if item.kind == "progress"]
        if faults and (not progress or self._random.random() < self._rate):
            # by kind first: there are many messages, and few resets
            kind = self._random.choice(sorted({item.kind for item in faults}))
            return self._random.choice([item for item in faults if item.kind == kind])
        if progress:
            return self._random.choice(progress)
        self._stopped = not batch and self._batches > 1  # before the run begins there is nothing yet
        return None

    def _due(self, item: Happening) -> bool:
        if item.kind not in UNBOUND:
            return True
        due = self._earliest.get(item.label)
        if due is None:
            due = self._earliest[item.label] = self._random.randint(0, self._left + 1)
        return self._left <= due

    def meanwhile(self, enabled: list[Happening]) -> list[Happening]:
        if "meanwhile" not in self._kinds or self._random.random() > 0.3:
            return []
        allowed = [item for item in enabled if item.kind in self._kinds or item.kind == "progress"]
        return [self._random.choice(allowed)] if allowed else []

    def local(self, label: str) -> bool:
        return "local-fault" not in self._kinds or self._random.random() > 0.3


def _unnumbered(label: str) -> str:
    return re.sub(r"[#.@]\d+", "", label)


def shrunk(trace: Trace, fails: Callable[[Trace], bool], most: int = 400) -> Trace:
    """The shortest trace found that still fails: without batches, without labels, faults made harmless."""
    tried: set[str] = set()

    def worse(candidate: Trace) -> bool:
        text = written(candidate)
        if text in tried or len(tried) >= most:
            return False
        tried.add(text)
        return fails(candidate)

    found = True
    while found:
        found = False
        for candidate in _smaller(trace):
            if worse(candidate):
                trace, found = candidate, True
                break
    return trace


def _smaller(trace: Trace) -> Iterator[Trace]:
    size = len(trace)
    while size:
        for start in range(0, len(trace), size):
            yield trace[:start] + trace[start + size :]
            # the opening batch must stay in its place, perhaps empty
            yield [[], *trace[size:]] if start == 0 else trace[:start]
        size //= 2
    for number, batch in enumerate(trace):
        for at in range(len(batch)):
            yield [*trace[:number], batch[:at] + batch[at + 1 :], *trace[number + 1 :]]
    for number, batch in enumerate(trace):
        for at, label in enumerate(batch):
            name, _, how = label.rpartition("=")
            if name and how not in ("ok", "started", "completed", "lands", "unpause"):
                milder = [*batch[:at], f"{name}=ok", *batch[at + 1 :]]
                yield [*trace[:number], milder, *trace[number + 1 :]]
