"""The arguments of workflows that keep a Machine; what is not a setting is carried on by continue-as-new.

Not in the workflow file: the sandbox loads that anew for each run, and would build the model each time.
"""

from __future__ import annotations

from workers.patterns.breaker.config import BreakerConfig
from workers.patterns.breaker.machine import Machine
from workers.patterns.breaker.release import Release
from workers.patterns.decisions import DecisionLog

MOST_EVENTS = 2_000


class MachineInput(BreakerConfig):
    """Settings, of which a first run makes its machine."""

    machine: Machine | None = None
    decisions: DecisionLog | None = None

    def config(self) -> BreakerConfig:
        return BreakerConfig.model_validate(self.model_dump(include=set(BreakerConfig.model_fields)))


class BreakerState(MachineInput):
    """The argument of BreakerWorkflow; a BreakerConfig is enough.

    most_events: of its history, before it continues as new.
    """

    release: Release | None = None
    most_events: int = MOST_EVENTS
