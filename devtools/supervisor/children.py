"""The processes under the supervisor: prefixed output, groups of their own, restarts within reason."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from devtools.supervisor.state_dir import Failure

_COLOURS = {"up": 36, "web": 34, "worker": 32, "sandbox": 35, "seed": 33, "temporal": 31}
_LONGEST_LINE = 64 * 1024
RESTARTS, RESTART_WINDOW = 5, 60.0  # seconds
WRONG_SETTINGS = 2  # the exit code of our commands for what another start cannot mend


class Output:
    """Lines of all children on one stream, each with the name of its source."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._colour = stream.isatty() and not os.environ.get("NO_COLOR")

    def say(self, name: str, text: str) -> None:
        label = f"{name:<8}|"
        if self._colour:
            label = f"\033[{_COLOURS.get(name, 37)}m{label}\033[0m"
        try:
            for line in text.splitlines() or [""]:
                self._stream.write(f"{label} {line}\n")
            self._stream.flush()
        except OSError:  # the reader went away; what runs must go on and be ended in order
            self._stream = Path(os.devnull).open("w")  # noqa: SIM115 (until the process ends)


class Watchdog:
    """Our end of the pipe to the process that ends our children when we cannot."""

    def __init__(self, held: IO[str]) -> None:
        self._held = held
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        script = Path(__file__).with_name("watchdog.py")
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", str(script)),
            stdin=asyncio.subprocess.PIPE,
            start_new_session=True,
            # It keeps the lock of the state folder for as long as anything of ours may still run.
            pass_fds=[self._held.fileno()],
        )

    def note(self, number: int) -> None:
        """A process group to end, or minus that: it ended."""
        if self._process and self._process.stdin:
            self._process.stdin.write(f"{number}\n".encode())

    async def close(self) -> None:
        if self._process and self._process.stdin:
            self._process.stdin.close()
            await self._process.wait()


@dataclass(frozen=True)
class Program:
    """`restart`: it may be started again when it dies. `stop_seconds`: how long it may take to end."""

    name: str
    command: tuple[str, ...]
    restart: bool = True
    stop_seconds: float = 8.0


class Child:
    """A program, kept running. `died` is called with a sentence when that is no longer possible."""

    def __init__(
        self,
        program: Program,
        environment: Mapping[str, str],
        output: Output,
        watchdog: Watchdog,
        died: Callable[[Failure], None],
    ) -> None:
        self.program, self._environment = program, dict(environment)
        self._output, self._watchdog, self._died = output, watchdog, died
        self._process: asyncio.subprocess.Process | None = None
        self._deaths: deque[float] = deque(maxlen=RESTARTS + 1)
        self._last_line = ""
        self._keeper: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()

    async def start(self) -> None:
        await self._spawn()
        self._keeper = asyncio.create_task(self._keep())

    async def _spawn(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            *self.program.command,
            env=self._environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            limit=_LONGEST_LINE,
            start_new_session=True,  # Ctrl-C reaches only us, so that we end them in order
        )
        self._watchdog.note(self._process.pid)

    async def _pump(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout
        rest = b""
        while chunk := await process.stdout.read(_LONGEST_LINE):
            *lines, rest = (rest + chunk).split(b"\n")
            if len(rest) > _LONGEST_LINE:
                lines, rest = [*lines, rest], b""
            self._print(*lines)
        if rest:
            self._print(rest)

    def _print(self, *lines: bytes) -> None:
        for line in lines:
            self._last_line = line.decode(errors="replace").rstrip("\r")
            self._output.say(self.program.name, self._last_line)

    async def _keep(self) -> None:
        """Follow the process; start it again when it dies, with growing pauses."""
        while self._process:
            await self._pump(self._process)
            code = await self._process.wait()
            self._signal(signal.SIGKILL)  # processes that it left behind
            self._watchdog.note(-self._process.pid)
            if self._stopping.is_set() or not await self._again(code):
                return
            await self._spawn()

    async def _again(self, code: int) -> bool:
        """May it be started again after this death? Waits a while before it says yes."""
        name = self.program.name
        if not self.program.restart:
            if code:
                self._output.say("up", f"{name} ended with {word(code)}.")
            return False
        if code == WRONG_SETTINGS:
            self._died(Failure(f"{name} cannot start: {self._last_line}"))
            return False
        self._deaths.append(time.monotonic())
        if len(self._deaths) > RESTARTS and self._deaths[-1] - self._deaths[0] < RESTART_WINDOW:
            times = f"{len(self._deaths)} times within a minute"
            self._died(Failure(f"{name} ended with {word(code)}, {times}; everything is stopped."))
            return False
        pause = min(0.5 * 2 ** (len(self._deaths) - 1), 8.0)
        self._output.say("up", f"{name} ended with {word(code)}; it starts again in {pause:g} s.")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), pause)
        return not self._stopping.is_set()

    def _signal(self, sign: signal.Signals) -> None:
        if self._process:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, sign)

    def kill(self) -> None:
        """At once, for the impatient."""
        self._stopping.set()
        if self._process and self._process.returncode is None:
            self._signal(signal.SIGKILL)

    async def stop(self) -> None:
        """End it: ask, wait for `stop_seconds`, kill. Its last words are still printed."""
        self._stopping.set()
        if self._keeper is None:
            return
        if self._process and self._process.returncode is None:
            self._signal(signal.SIGTERM)
        done, _ = await asyncio.wait([self._keeper], timeout=self.program.stop_seconds)
        if not done:
            self._output.say("up", f"{self.program.name} did not end in time and is killed.")
            self._signal(signal.SIGKILL)
            await asyncio.wait([self._keeper])


def word(code: int) -> str:
    """An exit code in words."""
    if code < 0:
        return f"signal {signal.Signals(-code).name}"
    return f"exit code {code}"
