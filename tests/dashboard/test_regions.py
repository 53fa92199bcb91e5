"""Snapshots: one read for all who look, kept when Temporal is away, never across scopes."""

from __future__ import annotations

import asyncio

import pytest

from dashboard.access import Forbidden, Viewer
from dashboard.live import cached_read
from workers.client.errors import TemporalUnavailable

VERA = Viewer("vera", frozenset({"viewer"}))


@pytest.fixture(autouse=True)
def forgotten():
    cached_read.forget()


class Read:
    """Counts how often it is made; fails while `away`."""

    def __init__(self) -> None:
        self.count = 0
        self.away = False
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self) -> int:
        self.count += 1
        await self.gate.wait()
        if self.away:
            raise TemporalUnavailable("Temporal is away.")
        return self.count


async def test_readers_at_the_same_time_share_one_read():
    read = Read()
    found = await asyncio.gather(*(cached_read.cached_read("x", VERA, read, fresh=0) for _ in range(20)))
    assert {item.value for item in found} == {1}


async def test_without_a_role_nothing_is_read():
    read = Read()
    with pytest.raises(Forbidden):
        await cached_read.cached_read("x", Viewer("nora"), read)
    assert read.count == 0


async def test_an_outage_shows_the_last_snapshot_with_its_age():
    read = Read()
    first = await cached_read.cached_read("x", VERA, read, fresh=0)
    read.away = True
    later = await cached_read.cached_read("x", VERA, read, fresh=0)
    assert (later.value, later.at, later.notice) == (1, first.at, "Temporal is away.")
    nothing = await cached_read.cached_read("y", VERA, read)
    assert (nothing.value, nothing.at) == (None, None)
    read.away = False
    assert (await cached_read.cached_read("x", VERA, read, fresh=0)).notice == ""


async def test_who_has_waited_enough_gets_the_last_one_and_the_read_goes_on():
    read = Read()
    await cached_read.cached_read("x", VERA, read, fresh=0)
    read.gate.clear()
    slow = await cached_read.cached_read("x", VERA, read, fresh=60, max_wait=0.01)
    assert (slow.value, slow.notice) == (1, cached_read.SLOW)
    read.gate.set()
    assert (await cached_read.cached_read("x", VERA, read, fresh=60)).value == 2
    assert (await cached_read.cached_read("x", VERA, read, fresh=60)).value == 2


async def test_a_reader_who_leaves_does_not_take_the_read_along():
    read = Read()
    read.gate.clear()
    leaver = asyncio.ensure_future(cached_read.cached_read("x", VERA, read))
    stayer = asyncio.ensure_future(cached_read.cached_read("x", VERA, read))
    await asyncio.sleep(0)
    leaver.cancel()
    read.gate.set()
    assert (await stayer).value == 1
    assert read.count == 1


async def test_snapshots_stay_within_their_tenant(settings):
    settings.DASHBOARD = settings.DASHBOARD.model_copy(update={"tenancy": "attribute"})
    ann, ben = (Viewer(name, frozenset({"viewer"}), tenant=name) for name in ("ann", "ben"))
    read = Read()
    await cached_read.cached_read("x", ann, read)
    read.away = True
    assert (await cached_read.cached_read("x", ben, read)).value is None
    cached_read.set_badges(ann, approvals=3)
    assert cached_read.badges(ann) == {"approvals": 3}
    assert cached_read.badges(ben) == {}


async def test_other_errors_are_not_hidden():
    async def broken() -> int:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await cached_read.cached_read("x", VERA, broken)


def test_snapshots_do_not_pile_up():
    for at in range(cached_read.KEPT + 50):
        cached_read._slot(("x", at))
    assert len(cached_read._slots) == cached_read.KEPT
