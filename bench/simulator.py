"""How many workflow tasks a second the simulator runs, with invariants and replays, in one process."""

from __future__ import annotations

import time
from typing import Any

from bench.results import Row, at_least

LEAST = 1_500
SECONDS = 10


def measure(seconds: float = SECONDS) -> list[Row]:
    """Order and saga with the product's interceptors, and a workflow of a few lines without."""
    from tests.workers.explore.test_saga import SAGAS
    from tests.workers.explore.test_simulator import SOUND
    from workers.testing.explore import Report, Scenario, totals, variant
    from workers.testing.invariants import always_waits_for_something

    def speed(name: str, scenario: Scenario) -> Row:
        timed = variant(scenario, name=f"bench of {name}", invariants=[always_waits_for_something()])
        before, report = time.process_time(), Report()
        while time.process_time() - before < seconds:
            report = timed.explore(traces=200, seed=f"{name}/{totals.get(timed.label, report).traces}")
        rate = report.tasks / (time.process_time() - before)
        return at_least(f"simulated workflow tasks, {name}", rate, "1/s of CPU", LEAST)

    rows: list[Any] = [speed("SagaWorkflow", SAGAS), speed("a workflow of a few lines", SOUND)]
    return rows
