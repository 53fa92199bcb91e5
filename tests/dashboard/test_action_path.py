"""The way of an action from its POST to the verdict: through which folders the viewer and the decision go.

A folder of `dashboard/` or `workers/` is a room; modules beside the folders (`access`, `forms`) are the room
of their app. A step into a room is a call across folders of a function that is handed the viewer, the
decision or the verdict: as an argument, or inside of one (a request, a dataclass, a list). Coming back to a
caller is no step. A room that is stepped into twice, with another one between, is a return.
"""

from __future__ import annotations

import sys
import uuid
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from itertools import groupby
from pathlib import Path
from types import FrameType
from typing import Any, Self

import pytest
from django.http import HttpRequest
from django.urls import reverse

from dashboard.access import Viewer
from tests.dashboard.flows import Decidable, foreign_worker
from workers.contracts import Decision, Verdict

pytestmark = pytest.mark.django_db(transaction=True)
ROOT = Path(__file__).resolve().parents[2]
FOLLOWED = (Viewer, Decision, Verdict)
MOST_ROOMS = 6


def room(frame: FrameType) -> str:
    """The folder of a file of ours; empty for all others."""
    path = Path(frame.f_code.co_filename)
    if not path.is_relative_to(ROOT):
        return ""
    app, *inside_app = path.relative_to(ROOT).parts
    if app not in ("dashboard", "workers"):
        return ""
    return f"{app}/{inside_app[0]}" if len(inside_app) > 1 else app


def inside(value: Any) -> Iterator[Any]:
    """A value and what it directly holds."""
    yield value
    if isinstance(value, HttpRequest):
        yield getattr(value, "viewer", None)
    elif isinstance(value, list | tuple):
        yield from value
    elif isinstance(value, dict):
        yield from value.values()
    elif is_dataclass(value) and not isinstance(value, type):
        yield from (getattr(value, item.name, None) for item in fields(value))


class Walk:
    """The rooms that were stepped into, in their order; profiles the thread that it is entered in."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self._known: set[FrameType] = set()  # a coroutine is "called" again each time it goes on

    def __enter__(self) -> Self:
        sys.setprofile(self._profile)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)
        self._known.clear()

    @property
    def rooms(self) -> list[str]:
        """Each stay once, however many calls it has."""
        return [name for name, _ in groupby(self.steps)]

    def _profile(self, frame: FrameType, event: str, _: Any) -> None:
        here = room(frame) if event == "call" and frame not in self._known else ""
        if not here:
            return
        self._known.add(frame)
        caller = frame.f_back
        while caller is not None and not room(caller):
            caller = caller.f_back
        if caller is None or room(caller) == here:
            return
        code = frame.f_code
        names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount + 2]
        given = [value for name in names for value in inside(frame.f_locals.get(name))]
        if any(isinstance(value, FOLLOWED) for value in given):
            self.steps += [here] if self.steps else [room(caller), here]


async def test_an_approve_goes_through_few_rooms_and_never_back(client, queue, async_client, approver_user):
    await async_client.aforce_login(approver_user)
    async with foreign_worker(client, queue):
        run = await client.start_workflow(Decidable.run, id=f"path-{uuid.uuid4().hex[:8]}", task_queue=queue)
        url = reverse("action", args=["default", run.id, run.first_execution_run_id, "approve"])
        with Walk() as walk:
            response = await async_client.post(
                url, {"decision_id": uuid.uuid4().hex}, headers={"HX-Request": "true"}
            )
    assert "Applied" in response.content.decode()
    assert walk.rooms == [
        "dashboard/web",
        "dashboard/actions",
        "dashboard",
        "dashboard/audit",
        "dashboard/temporal_api",
        "workers/payloads",
    ]
    assert len(walk.rooms) <= MOST_ROOMS
    assert len(set(walk.rooms)) == len(walk.rooms)
