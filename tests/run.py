"""`make test`: pytest in two lanes side by side, each with a Temporal server of its own, and a last word.
`make test-coverage`: the same, and which lines and branches it reached.
`make test-services`: what touches the database or the cache, on PostgreSQL and Redis.

The settings of the shell are kept out, so that no test can ever reach a server of somebody. Skipped tests
are listed with their reasons; with FORBID_SKIPS=1 they are failures.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree as ET

from dashboard.conf import DashboardConf
from orders.conf import OrdersConf
from tests import services
from workers.conf import WorkersConf
from workers.devserver import binary as devbinary
from workers.devserver import server as devserver

ROOT = Path(__file__).resolve().parent.parent
NO_TESTS = 5  # pytest's exit code when nothing was collected
BROWSER, WORKERS = "tests/browser", "tests/workers"
LANES = (
    {"tests of workers": [WORKERS]},
    # Browser tests are by themselves: Playwright's event loop and pytest-asyncio's do not share a process.
    {"other tests": ["tests", f"--ignore={BROWSER}", f"--ignore={WORKERS}"], "browser tests": [BROWSER]},
)
ON_SERVICES = {
    "tests on PostgreSQL and Redis": [
        "tests/dashboard",
        "tests/orders",
        f"{WORKERS}/client",
        f"{WORKERS}/interceptors",
        f"{WORKERS}/patterns/cache",
        f"{WORKERS}/patterns/transactions",
    ],
    "browser tests on PostgreSQL and Redis": [BROWSER],
}
PATIENCE = 10  # seconds for pytest to end its own children when it is told to stop
LIMIT = 1800  # seconds for one invocation: a run that hangs must end by itself


@dataclass
class Tally:
    """What the runs said, added up."""

    counts: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)

    def read(self, report: Path) -> None:
        """Add a JUnit report."""
        for case in ET.parse(report).iter("testcase"):
            kinds = {child.tag for child in case}
            kind = next((k for k in ("error", "failure", "skipped") if k in kinds), "passed")
            self.counts[kind] += 1
            if kind == "skipped":
                element = case.find("skipped")
                reason = (element.get("message") if element is not None else None) or "no reason given"
                self.skipped[reason] += 1


def environment() -> dict[str, str]:
    """The environment without any setting of Signalbox."""
    confs = (WorkersConf, DashboardConf, OrdersConf)
    names = {str(f.alias) for conf in confs for f in conf.model_fields.values()}
    names |= {f"{name}_FILE" for name in names}
    kept = {name: value for name, value in os.environ.items() if name not in names}
    return {**kept, "SIGNALBOX_MODE": "development"}


async def ended(process: asyncio.subprocess.Process) -> int:
    """The exit code once it has ended, which it is made to when we are."""
    try:
        return await asyncio.wait_for(process.wait(), LIMIT)
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), PATIENCE)
            except TimeoutError:
                process.kill()
                await process.wait()


def with_coverage(folder: Path) -> list[str]:
    """Arguments of Python that measure a module which follows; the data goes into a file of the folder."""
    return ["-m", "coverage", "run", "--parallel-mode", f"--data-file={folder / 'coverage'}"]


def report_coverage(folder: Path) -> None:
    """Print what the invocations reached together, file by file, the total in the last line."""
    data = f"--data-file={folder / 'coverage'}"
    for command in (["combine", "--quiet"], ["report", "--skip-covered", "--precision=1"]):
        subprocess.run([sys.executable, "-m", "coverage", *command, data], cwd=ROOT, check=False)


async def pytest(
    name: str,
    arguments: list[str],
    settings: dict[str, str],
    tally: Tally,
    *,
    now: bool,
    python: list[str],
) -> None:
    """One invocation of pytest; its report goes into the tally. `now`: its output comes as it is written,
    else when it has ended, so that that of two does not mix. `python`: arguments before `-m pytest`."""
    with tempfile.TemporaryDirectory(prefix="signalbox-test-") as folder:
        report, words = Path(folder) / "report.xml", Path(folder) / "words.txt"
        command = [sys.executable, *python, "-m", "pytest", "-q", "--durations=10"]
        command += [f"--junitxml={report}", *arguments]
        told = {**environment(), **settings, "SIGNALBOX_STATE_DIR": str(Path(folder) / "state")}
        try:
            with words.open("wb") as later:
                said = {} if now else {"stdout": later, "stderr": asyncio.subprocess.STDOUT}
                code = await ended(await asyncio.create_subprocess_exec(*command, cwd=ROOT, env=told, **said))
            print(f"\n{name}:\n{words.read_text(errors='replace')}" if not now else "", flush=True)
        except TimeoutError:
            tally.broken.append(f"{name} (ended after {LIMIT} s)")
            return
        if report.exists():
            tally.read(report)
        if code not in (0, NO_TESTS):
            tally.broken.append(f"{name} (exit code {code})")


def last_word(tally: Tally, seconds: float, left_out: str) -> int:
    """Print the sum and what was left out; the exit code."""
    forbidden = bool(tally.skipped) and os.environ.get("FORBID_SKIPS") == "1"
    if not tally.counts["passed"]:
        tally.broken.append("no test passed")
    print("\nLeft out:" if tally.skipped or left_out else "\nNothing was left out.")
    for reason, count in sorted(tally.skipped.items()):
        print(f"  {count} x {reason}")
    if left_out:
        print(f"  {left_out}")
    failed = tally.counts["failure"] + tally.counts["error"]
    verdict = "FAILED" if tally.broken or forbidden else "PASSED"
    print(
        f"{verdict}: {tally.counts['passed']} passed, {failed} failed, {sum(tally.skipped.values())} skipped "
        f"in {seconds:.0f} s"
        + (f"; {', '.join(tally.broken)}" if tally.broken else "")
        + ("; skipped tests count as failures here (FORBID_SKIPS)" if forbidden else "")
    )
    return int(verdict == "FAILED")


async def run(
    lane: dict[str, list[str]], settings: dict[str, str], tally: Tally, marks: str, python: list[str]
) -> None:
    """One after the other; only the output of the first lane is shown while it runs."""
    for name, where in lane.items():
        await pytest(name, ["-m", marks, *where], settings, tally, now=lane is not LANES[1], python=python)


async def main(which: str) -> int:
    """Run all and return the exit code."""
    begun, tally = time.monotonic(), Tally()
    task = asyncio.current_task()
    assert task
    # Otherwise the servers would outlive us: they have sessions of their own.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    lanes = (ON_SERVICES,) if which == "services" else LANES
    async with AsyncExitStack() as stack, asyncio.TaskGroup() as group:
        settings, python = {}, list[str]()
        if which == "coverage":
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="signalbox-coverage-")))
            stack.callback(report_coverage, folder)  # when all have ended, before the folder goes
            python = with_coverage(folder)
        if which == "services":
            settings["DATABASE_URL"] = stack.enter_context(services.postgresql())
            settings["CHANNEL_REDIS_URL"] = stack.enter_context(services.redis())
        for lane in lanes:
            server = await devserver.start()
            stack.push_async_callback(server.stop)
            own = {**settings, "TEMPORAL_ADDRESS": server.address}
            marks = "slow" if which == "slow" else "not slow"
            group.create_task(run(lane, own, tally, marks, python))
    left_out = "" if which == "slow" else "tests marked slow: kills, scale and soak (make test-slow)"
    return last_word(tally, time.monotonic() - begun, left_out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--slow", dest="which", action="store_const", const="slow", help="the slow tests instead"
    )
    parser.add_argument(
        "--services", dest="which", action="store_const", const="services", help="on PostgreSQL and Redis"
    )
    parser.add_argument(
        "--coverage", dest="which", action="store_const", const="coverage", help="measure what they reach"
    )
    try:
        sys.exit(asyncio.run(main(parser.parse_args().which or "")))
    except (devbinary.Unavailable, services.Missing) as error:
        sys.exit(str(error))
    except asyncio.CancelledError:
        sys.exit(128 + signal.SIGTERM)
