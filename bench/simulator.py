"""How many workflow tasks a second the simulator runs, with invariants and replays, in one process."""

from __future__ import annotations

import time

from bench.results import Row, at_least, measured

LEAST = 1_500
SECONDS = 10
TRACES = 2_000
"""Of one exploration: its tasks are known to the traces after it."""


def measure(seconds: float = SECONDS) -> list[Row]:
    """SagaWorkflow with the product's interceptors and all invariants of sagas; a workflow of a few lines.

    CPU seconds of one core. What a trace shares with one before it is not run again; the second row of each
    says how much was, with the replays.
    """
    from tests.workers.explore.test_saga import SAGAS
    from tests.workers.explore.test_simulator import SOUND
    from workers.testing.explore import Scenario, variant

    def speed(name: str, scenario: Scenario) -> list[Row]:
        timed = variant(scenario, name=f"bench of {name}")
        report = timed.explore(traces=1)
        before, tasks, activations = time.process_time(), report.tasks, report.activations
        while time.process_time() - before < seconds:
            timed.explore(traces=TRACES, seed=f"{name}/{report.traces}")
        used = time.process_time() - before
        tasks, activations = report.tasks - tasks, report.activations - activations
        return [
            at_least(f"simulated workflow tasks, {name}", tasks / used, "1/s of CPU", LEAST),
            measured(f"activations run for each of them, {name}", activations / tasks, ""),
        ]

    return [*speed("SagaWorkflow", SAGAS), *speed("a workflow of a few lines", SOUND)]
