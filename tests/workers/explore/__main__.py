"""Explore all shipped workflows for a time: `python -m tests.workers.explore --minutes 15 --seed 1 [--only
NAME]`.

Prints what was seen, and of the first violation the story and the line that repeats it; exit code 1 then.
"""

from __future__ import annotations

import argparse
import os
import sys
import time


def main(minutes: float, seed: str, only: str) -> int:
    """0, or 1 with the story of the first violation."""
    from tests.workers.explore import catalogue
    from workers.testing.explore import Violation, totals

    scenarios = [scenario for scenario in catalogue.SCENARIOS if only.lower() in scenario.label.lower()]
    if not scenarios:
        print(f"No scenario is called {only}. There are: {', '.join(s.label for s in catalogue.SCENARIOS)}.")
        return 2
    end, round_ = time.monotonic() + 60 * minutes, 0
    failed = ""
    while time.monotonic() < end and not failed:
        for scenario in scenarios:
            try:
                scenario.explore(
                    traces=200, seed=f"{seed}/{round_}", seconds=max(0.1, end - time.monotonic())
                )
            except Violation as violation:
                failed = f"{scenario.label}, seed {seed}/{round_}\n{violation}"
                break
        round_ += 1
    for name, report in sorted(totals.items()):
        print(f"{name}: {report}")
    if failed:
        print(failed)
    return int(bool(failed))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--seed", default=str(time.time_ns()))
    parser.add_argument("--only", default="", help="part of a scenario's name")
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    import django

    django.setup()
    given = parser.parse_args()
    print(f"Seed {given.seed}.")
    sys.exit(main(given.minutes, given.seed, given.only))
