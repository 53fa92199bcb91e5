"""Explore all shipped workflows for a time: `python -m tests.workers.explore --minutes 15 --seed 1 [--only
NAME]`.

Prints each violation once, with its story and the line that repeats it, and goes on; at the end what was
seen. Exit code 1 when there was a violation.
"""

from __future__ import annotations

import argparse
import os
import sys
import time

TRACES = 2_000
"""Of one scenario at most, before it is the next one's turn."""


def main(minutes: float, seed: str, only: str) -> int:
    """0; 1 when an invariant was violated, 2 when no scenario has such a name."""
    from tests.workers.explore import catalogue
    from workers.testing.explore import Violation, totals

    scenarios = [scenario for scenario in catalogue.SCENARIOS if only.lower() in scenario.label.lower()]
    if not scenarios:
        print(f"No scenario is called {only}. There are: {', '.join(s.label for s in catalogue.SCENARIOS)}.")
        return 2
    end, round_ = time.monotonic() + 60 * minutes, 0
    share = 60 * minutes / len(scenarios)  # all have their turn, however slow the machine
    found: dict[tuple[str, str], int] = {}
    while time.monotonic() < end:
        for scenario in scenarios:
            seconds = min(end - time.monotonic(), share)
            if seconds <= 0:
                break
            this = f"{seed}/{round_}"
            try:
                scenario.explore(traces=TRACES, seed=this, seconds=seconds, shrink=False)
            except Violation as violation:
                key = scenario.label, violation.name
                found[key] = found.get(key, 0) + 1
                if found[key] == 1:
                    print(f"{scenario.label}, seed {this}\n{scenario.explained(violation)}\n", flush=True)
        round_ += 1
    for name, report in sorted(totals.items()):
        print(f"{name}: {report}")
    for (label, name), times in found.items():
        print(f"VIOLATED {label}: {name}, in {times} of {round_} rounds")
    return int(bool(found))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--seed", default=str(time.time_ns()))
    parser.add_argument("--only", default="", help="part of a scenario's name")
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    import django

    django.setup()
    given = parser.parse_args()
    print(f"Seed {given.seed}.", flush=True)
    sys.exit(main(given.minutes, given.seed, given.only))
