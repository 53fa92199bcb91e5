"""Shared reads: one read for all viewers of a page, and its last snapshot while Temporal is unreachable.

A page and its fragments call `cached_read()` with the same key. Reads of one key within a second are one
read; when Temporal is unreachable, the last snapshot is shown with its age and the reason. Keys hold the
viewer's scope, so that no viewer gets a snapshot of another tenant.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar, cast

from dashboard.access import Scope, Verb, Viewer, authorise, for_viewer, may, within
from dashboard.bounded import Bounded, size_of
from workers.client.errors import TemporalError
from workers.payloads.redaction import redact_text

T = TypeVar("T")

FRESH_SECONDS = 1.0
KEPT = 512
KEPT_BYTES = 64 * 1024 * 1024  # of all snapshots
KEPT_SECONDS = 3600.0  # the last snapshot, while Temporal is unreachable
BADGES_KEPT_SECONDS = 60.0
MAX_WAIT = 0.3  # seconds that a page waits for the answers of workflows
SLOW = "It has not answered yet."


@dataclass(frozen=True)
class Snapshot(Generic[T]):
    """What a page shows: a value (None: it was never read), when it was read, and why it is not fresh."""

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


_Key = tuple[str, Scope, Hashable]  # region, scope, detail
_slots: Bounded[_Key, _Slot] = Bounded(
    largest=KEPT_BYTES, seconds=KEPT_SECONDS, entries=KEPT, weigh=lambda slot: size_of(slot.value)
)


def _slot(key: _Key) -> _Slot:
    return _slots.get(key) or _slots.put(key, _Slot())


def _under_way(slot: _Slot) -> asyncio.Task[Any] | None:
    """The read that this event loop may wait for; one of another loop is not ours to await."""
    task = slot.reading
    same = task is not None and not task.done() and task.get_loop() is asyncio.get_running_loop()
    return task if same else None


async def _refresh(key: _Key, slot: _Slot, read: Callable[[], Awaitable[Any]], fresh: float) -> None:
    """Read and keep the value, also when the request that began it has gone."""
    value = await read()
    slot.value, slot.at, slot.fresh_until = value, datetime.now(UTC), time.monotonic() + fresh
    if _slots.get(key) is slot:  # else it was invalidated meanwhile
        _slots.put(key, slot)


async def cached_read(
    region: str,
    viewer: Viewer,
    read: Callable[[], Awaitable[T]],
    *,
    detail: Hashable = (),
    fresh: float = FRESH_SECONDS,
    max_wait: float | None = None,
) -> Snapshot[T]:
    """Read, or share the read of another viewer of the same scope; the last snapshot when Temporal is
    unreachable.

    `detail` distinguishes reads of one region. After `max_wait` seconds, or at the deadline of the page, the
    last snapshot is returned; the read continues and fills the cache. Only TemporalError counts as
    unreachable: anything else is raised. Raises Forbidden for a viewer who may read nothing.
    """
    authorise(viewer, Verb.VIEW)
    key = (region, for_viewer(viewer), detail)
    slot = _slot(key)
    if slot.at is not None and time.monotonic() < slot.fresh_until:
        return Snapshot(cast(T, slot.value), slot.at)
    task = _under_way(slot)
    if task is None:
        # A task of its own outlives the request; when it fails, no request may be waiting any more.
        task = slot.reading = asyncio.ensure_future(_refresh(key, slot, read, fresh))
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
    try:
        await asyncio.wait_for(asyncio.shield(task), within(max_wait))
    except TimeoutError:
        return Snapshot(slot.value, slot.at, notice=SLOW)
    except TemporalError as error:
        return Snapshot(slot.value, slot.at, notice=redact_text(str(getattr(error, "message", "") or error)))
    return Snapshot(slot.value, slot.at)


def invalidate(namespace: str) -> None:
    """Something changed in a namespace: every later read of it begins after this. Stale values are kept as
    fallback; reads under way end in slots that are not used any more."""
    for key in _slots:
        if key[1].namespace == namespace and (slot := _slots.get(key)):
            _slots.put(key, _Slot(slot.value, slot.at))


_badges: OrderedDict[Scope, dict[str, tuple[int, float]]] = OrderedDict()


def set_badges(viewer: Viewer, **counts: int) -> None:
    """Remember the counts of the navigation for all viewers of this namespace and scope, from a read made
    anyway."""
    key, now = for_viewer(viewer), time.monotonic()
    _badges.setdefault(key, {}).update({name: (count, now) for name, count in counts.items()})
    _badges.move_to_end(key)
    while len(_badges) > KEPT:
        _badges.popitem(last=False)


def badges(viewer: Viewer) -> dict[str, int]:
    """The counts that were read for this namespace and scope within the last minute."""
    if may(viewer, Verb.VIEW):
        return {}
    since = time.monotonic() - BADGES_KEPT_SECONDS
    found = _badges.get(for_viewer(viewer), {})
    return {name: count for name, (count, at) in found.items() if at > since}


def forget() -> None:
    """Drop all snapshots and badges; for tests."""
    _slots.clear()
    _badges.clear()
