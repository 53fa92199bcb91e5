"""At the end of a test run: how many traces and distinct states the simulator saw."""

from __future__ import annotations

from typing import Any

from workers.testing.explore import totals


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """One line a scenario."""
    if not totals:
        return
    terminalreporter.section("simulated workflows")
    for name, report in sorted(totals.items()):
        terminalreporter.write_line(f"{name}: {report}")
