"""What people, breakers and other workflows may say to a simulated run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from workers.testing.view import View

ABSENT = object()
GARBAGE = "no decision at all"


@dataclass(frozen=True)
class Say:
    """A signal, or an update, that may come at any time, up to `times` times.

    `body`: its argument, absent by default, or a function of the View that makes it. `when`: says with the
    View whether it may be sent now; always by default. `kind`: by which random traces switch it on.
    `update_id`: of an update; by default each has its own.
    """

    name: str
    body: Any = ABSENT
    label: str = ""
    times: int = 1
    kind: str = "message"
    update: bool = False
    update_id: str = ""
    when: Callable[[View], bool] | None = None

    @property
    def key(self) -> str:
        return self.label or self.name

    def arguments(self, view: View) -> list[Any]:
        body = self.body(view) if callable(self.body) and not isinstance(self.body, type) else self.body
        return [] if body is ABSENT else [body]


def spoken(name: str, body: Any, *, update: bool = False, **more: Any) -> list[Say]:
    """A message right, twice with the same id, with a wrong body, and with none."""
    once = {**more, "update": update, "update_id": f"{name}-id" if update else ""}
    each = {**more, "update": update}
    return [
        Say(name, body, **once),
        Say(name, body, label=f"{name}-again", kind="odd-message", **once),
        Say(name, GARBAGE, label=f"{name}-garbage", kind="odd-message", **each),
        Say(name, label=f"{name}-bare", kind="odd-message", **each),
    ]
