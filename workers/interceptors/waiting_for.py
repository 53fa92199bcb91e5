"""What a run waits for: what its workflow says, and what the platform adds, in one search attribute.

Only for workflow code. Neither side may remove what the other one says, so both write through this module.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from temporalio import workflow

from workers.client.attributes import WAITING_FOR

_ATTRIBUTE = "__signalbox_waits__"


@dataclass
class _Waits:
    """`platform`: how often each value was added and not removed again."""

    own: list[str] = field(default_factory=list)
    platform: Counter[str] = field(default_factory=Counter)

    def values(self) -> list[str]:
        return list(dict.fromkeys([*self.own, *(value for value in self.platform if self.platform[value])]))


def _of_run() -> _Waits:
    """Kept with the workflow's object, which lives as long as the run is in this worker's cache."""
    instance = workflow.instance()
    waits: _Waits | None = getattr(instance, _ATTRIBUTE, None)
    if waits is None:
        waits = _Waits(own=list(workflow.info().typed_search_attributes.get(WAITING_FOR) or []))
        setattr(instance, _ATTRIBUTE, waits)
    return waits


def with_platform_waits(own: list[str] | None) -> list[str]:
    """The values to upsert when the workflow itself waits for `own`."""
    waits = _of_run()
    waits.own = list(own or [])
    return waits.values()


def add_platform_wait(value: str) -> None:
    """The platform waits for `value` on behalf of this run, until `remove_platform_wait`."""
    _of_run().platform[value] += 1
    _upsert()


def remove_platform_wait(value: str) -> None:
    """Takes back one `add_platform_wait`."""
    _of_run().platform[value] -= 1
    _upsert()


def _upsert() -> None:
    wanted, known = _of_run().values(), workflow.info().typed_search_attributes.get(WAITING_FOR)
    if list(known or []) != wanted:
        update = WAITING_FOR.value_set(wanted) if wanted else WAITING_FOR.value_unset()
        workflow.upsert_search_attributes([update])
