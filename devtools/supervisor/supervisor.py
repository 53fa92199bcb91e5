"""The supervisor: what is started in which order, what is waited for, and how it is ended."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import httpx

from devtools.supervisor import state_dir, temporal_server
from devtools.supervisor.children import Child, Output, Program, Watchdog
from devtools.supervisor.state_dir import HOST, Failure
from workers.conf import WorkersConf
from workers.devserver.server import DevServer

_POLL_SECONDS = 0.1
_CREDENTIALS = ("TEMPORAL_TLS", "TEMPORAL_API_KEY")  # of some other server than our own


@dataclass(frozen=True)
class Demo:
    """What the installed apps ask for: processes by name, as arguments of manage.py, and the environment of
    everybody, where `{<name>_port}` is the port of that process; and the commands that seed."""

    processes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    seeds: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """`foreign`: the server is not ours. `prepare` makes the database and the users, in a thread, and
    returns what the person should know."""

    port: int
    state: Path
    conf: WorkersConf
    foreign: bool
    demo: bool
    apps: Demo
    prepare: Callable[[], str]

    @property
    def console_only(self) -> bool:
        return self.foreign and not self.demo


class Supervisor:
    """Start everything by `run`, which returns the exit code once all has ended."""

    def __init__(self, plan: Plan, stream: IO[str]) -> None:
        self.plan, self._output = plan, Output(stream)
        self._children: list[Child] = []
        self._server: DevServer | None = None
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._begun = time.monotonic()

    async def run(self) -> int:
        main = asyncio.current_task()
        assert main
        signals = 0

        def stop_requested() -> None:
            nonlocal signals
            signals += 1
            if signals == 1:
                self._say("Stopping; once more to stop at once.")
                main.cancel()
            else:
                for child in self._children:
                    child.kill()

        for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(sign, stop_requested)
        try:
            return await self._live()
        except asyncio.CancelledError:
            if not signals:
                raise
            main.uncancel()
            return 0

    async def _live(self) -> int:
        """Everything between the lock and its release."""
        try:
            held = await asyncio.to_thread(state_dir.lock, self.plan.state, self._say)
        except Failure as failure:
            self._say(str(failure))
            return 1
        watchdog, reason = Watchdog(held), ""
        try:
            await watchdog.start()
            await self._start(watchdog)
            await self._failed
        except Failure as failure:
            reason = str(failure)
            self._say(reason)
            return 1
        finally:
            await asyncio.shield(self._stop(watchdog))
            await watchdog.close()
            held.close()
            if reason and self._children:  # what the children wrote meanwhile stands below the first one
                self._say(reason)
        return 0

    async def _start(self, watchdog: Watchdog) -> None:
        plan = self.plan
        names = ["temporal_port", "health_port", *(f"{name}_port" for name in plan.apps.processes)]
        ports = state_dir.ports(plan.state, names)
        prepared = asyncio.create_task(asyncio.to_thread(plan.prepare))
        try:
            environment = self._environment(ports, await self._temporal(ports["temporal_port"], watchdog))
            hint = await prepared
        except BaseException:
            await asyncio.wait([prepared])  # a thread cannot be stopped, and its database must be whole
            raise
        await self._spawn(self._programs(ports), environment, watchdog)
        self._background(self._opened(hint))
        if not plan.console_only:
            self._background(self._seed(ports["health_port"], environment, watchdog))

    async def _temporal(self, port: int, watchdog: Watchdog) -> str:
        if self.plan.foreign:
            await temporal_server.check(self.plan.conf, demo=self.plan.demo)
            return self.plan.conf.address
        self._say("Starting the Temporal server (the first time it may have to be fetched or built).")
        self._server = await temporal_server.start(self.plan.state, port, watchdog.note)
        self._background(self._server_gone(self._server))
        return self._server.address

    async def _server_gone(self, server: DevServer) -> None:
        self._fail(await temporal_server.died(server))

    def _environment(self, ports: dict[str, int], address: str) -> dict[str, str]:
        """What children see: what apps wish for a demo, then the person's own words, then what has to be."""
        own = {"SIGNALBOX_STATE_DIR": str(self.plan.state), "PYTHONUNBUFFERED": "1"}
        given = dict(os.environ)
        if not self.plan.foreign:
            own |= {"TEMPORAL_ADDRESS": address, "TEMPORAL_NAMESPACE": temporal_server.NAMESPACE}
            given = {name: value for name, value in given.items() if not name.startswith(_CREDENTIALS)}
        if not (given.get("SECRET_KEY") or given.get("SECRET_KEY_FILE")):
            own["SECRET_KEY_FILE"] = str(state_dir.secret(self.plan.state, "secret_key"))
        wishes = {} if self.plan.console_only else self.plan.apps.environment
        return {**{name: value.format_map(ports) for name, value in wishes.items()}, **given, **own}

    def _programs(self, ports: dict[str, int]) -> list[Program]:
        """In the order of their start, which is the reverse of how they are ended."""
        manage = (sys.executable, "manage.py")
        web = (*manage, "runweb", "--host", HOST, "--port", str(self.plan.port))
        programs = [Program("web", web, stop_seconds=6)]
        if not self.plan.console_only:
            worker = (*manage, "runworker", "--health-port", str(ports["health_port"]))
            programs.insert(0, Program("worker", worker, stop_seconds=self.plan.conf.drain_seconds + 8))
            programs[:0] = [
                Program(name, (*manage, *(word.format_map(ports) for word in words)))
                for name, words in self.plan.apps.processes.items()
            ]
        return programs

    async def _spawn(self, programs: list[Program], environment: dict[str, str], watchdog: Watchdog) -> None:
        for program in programs:
            child = Child(program, environment, self._output, watchdog, self._fail)
            self._children.append(child)
            await child.start()

    async def _opened(self, hint: str) -> None:
        address = f"http://{HOST}:{self.plan.port}/"
        await _answers(f"{address}login/")
        text = f"Signalbox is open at {address} ({time.monotonic() - self._begun:.1f} s)"
        self._say("\n".join(["", text, *hint.splitlines(), "Ctrl-C stops everything.", ""]))

    async def _seed(self, health: int, environment: dict[str, str], watchdog: Watchdog) -> None:
        await _answers(f"http://{HOST}:{health}/readyz")
        seeds = [
            Program("seed", (sys.executable, "manage.py", command), restart=False)
            for command in self.plan.apps.seeds
        ]
        await self._spawn(seeds, environment, watchdog)

    async def _stop(self, watchdog: Watchdog) -> None:
        for task in self._tasks:
            task.cancel()
        for child in reversed(self._children):
            await child.stop()
        if self._server:
            await self._server.stop()
            watchdog.note(-self._server.pid)
        if self._children:
            self._say("All stopped.")

    def _background(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            self._fail(Failure(f"{type(error).__name__}: {error}"))

    def _fail(self, failure: Failure) -> None:
        if not self._failed.done():
            self._failed.set_exception(failure)

    def _say(self, text: str) -> None:
        self._output.say("up", text)


async def _answers(url: str) -> None:
    """Wait until `url` answers 200: a child that dies meanwhile is started again, or ends us all. Pauses
    grow, as a page that fails writes its traceback each time."""
    pause = _POLL_SECONDS
    async with httpx.AsyncClient(trust_env=False, timeout=5) as http:
        while True:
            try:
                if (await http.get(url)).is_success:
                    return
                pause = min(2 * pause, 10)
            except httpx.HTTPError:  # nothing listens yet
                pass
            await asyncio.sleep(pause)
