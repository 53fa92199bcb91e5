"""What pages and their regions share: one read for all who look, and the last snapshot when Temporal is away.

A page and its region call `seen()` with the same key and read. Reads of the same key within a second are one
read; when it fails because Temporal is away, what was last seen is shown with its age and the reason. Keys
hold the viewer's scope, so that nobody sees a snapshot of another tenant.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar, cast

from dashboard.access import Verb, Viewer, may, scope
from workers.client.errors import TemporalError
from workers.payloads.redaction import redact_text

T = TypeVar("T")

FRESH_SECONDS = 1.0
KEPT = 512
BADGES_KEPT_SECONDS = 60.0
PATIENCE = 0.3  # seconds that a page waits for the answers of workflows
SLOW = "It has not answered yet."


@dataclass(frozen=True)
class Seen(Generic[T]):
    """What a page shows: a value (None: nothing was ever seen), when it was read, and why it is not fresh."""

    value: T | None
    at: datetime | None
    notice: str = ""


@dataclass
class _Slot:
    """The last success of one key, and the read that is under way."""

    value: Any = None
    at: datetime | None = None
    fresh_until: float = 0.0
    reading: asyncio.Task[Any] | None = None


_slots: OrderedDict[Hashable, _Slot] = OrderedDict()


def _slot(key: Hashable) -> _Slot:
    slot = _slots.setdefault(key, _Slot())
    _slots.move_to_end(key)
    while len(_slots) > KEPT:
        _slots.popitem(last=False)
    return slot


def _under_way(slot: _Slot) -> asyncio.Task[Any] | None:
    """The read that this event loop may wait for; one of another loop is not ours to await."""
    task = slot.reading
    same = task is not None and not task.done() and task.get_loop() is asyncio.get_running_loop()
    return task if same else None


async def _refresh(slot: _Slot, read: Callable[[], Awaitable[Any]], fresh: float) -> None:
    """Keep what was read, also when nobody waits for it any more."""
    value = await read()
    slot.value, slot.at, slot.fresh_until = value, datetime.now(UTC), time.monotonic() + fresh


async def seen(
    region: str,
    viewer: Viewer,
    read: Callable[[], Awaitable[T]],
    *,
    detail: Hashable = (),
    fresh: float = FRESH_SECONDS,
    patience: float | None = None,
) -> Seen[T]:
    """Read, or share the read of another viewer of the same scope; the last snapshot when Temporal is away.

    `detail` tells reads of a region apart. After `patience` seconds the last snapshot is taken, and the read
    goes on for the next one who looks. Only TemporalError counts as "away": anything else is raised.
    """
    slot = _slot((region, scope(viewer), detail))
    if slot.at is not None and time.monotonic() < slot.fresh_until:
        return Seen(cast(T, slot.value), slot.at)
    task = _under_way(slot)
    if task is None:
        # A task of its own outlives the viewer who asked; when it fails, nobody may be waiting any more.
        task = slot.reading = asyncio.ensure_future(_refresh(slot, read, fresh))
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
    try:
        await asyncio.wait_for(asyncio.shield(task), patience)
    except TimeoutError:
        return Seen(slot.value, slot.at, notice=SLOW)
    except TemporalError as error:
        return Seen(slot.value, slot.at, notice=redact_text(str(getattr(error, "message", "") or error)))
    return Seen(slot.value, slot.at)


def outdate() -> None:
    """Somebody acted: whoever looks from now on gets a read that began after the act.

    Snapshots stay as a last resort; reads under way end in slots that nobody looks at any more.
    """
    for key, slot in _slots.items():
        _slots[key] = _Slot(slot.value, slot.at)


_badges: OrderedDict[str, dict[str, tuple[int, float]]] = OrderedDict()


def set_badges(viewer: Viewer, **counts: int) -> None:
    """Remember the counts of the navigation for all viewers of this scope, from a read made anyway."""
    now = time.monotonic()
    _badges.setdefault(scope(viewer), {}).update({name: (count, now) for name, count in counts.items()})
    _badges.move_to_end(scope(viewer))
    while len(_badges) > KEPT:
        _badges.popitem(last=False)


def badges(viewer: Viewer) -> dict[str, int]:
    """The counts that were read for this scope within the last minute."""
    if may(viewer, Verb.VIEW):
        return {}
    since = time.monotonic() - BADGES_KEPT_SECONDS
    return {name: count for name, (count, at) in _badges.get(scope(viewer), {}).items() if at > since}


def forget() -> None:
    """Drop all snapshots and badges; for tests."""
    _slots.clear()
    _badges.clear()
