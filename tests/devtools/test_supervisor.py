"""The supervisor with real processes: what it prints, restarts, ends and never leaves behind."""

from __future__ import annotations

import asyncio
import io
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from temporalio.client import Client

from devtools.supervisor import state_dir, temporal_server
from devtools.supervisor.children import Child, Output, Program, Watchdog
from devtools.supervisor.state_dir import Failure
from tests.support import eventually
from workers.conf import conf

ROOT = Path(__file__).resolve().parent.parent.parent


def gone(pid: int) -> bool:
    """Has the process ended? One that nobody has collected yet counts as ended."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return False


class Stage:
    """One child with what was said and the failures that were reported."""

    def __init__(self, watchdog: Watchdog) -> None:
        self.watchdog, self.said, self.failures = watchdog, io.StringIO(), list[Failure]()
        self.children: list[Child] = []

    async def start(self, code: str, *, restart: bool = True, stop_seconds: float = 5) -> Child:
        program = Program("child", (sys.executable, "-uc", code), restart, stop_seconds)
        child = Child(program, os.environ, Output(self.said), self.watchdog, self.failures.append)
        self.children.append(child)
        await child.start()
        return child

    def lines(self) -> list[str]:
        return self.said.getvalue().splitlines()


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    held = state_dir.lock(tmp_path / "state")
    watchdog = Watchdog(held)
    await watchdog.start()
    made = Stage(watchdog)
    yield made
    for child in made.children:
        child.kill()
        await child.stop()
    await watchdog.close()
    held.close()


async def test_every_line_of_a_child_carries_its_name(stage: Stage) -> None:
    await stage.start("print('one'); print('two', end='')", restart=False)
    await eventually(lambda: stage.lines() == ["child   | one", "child   | two"])


async def test_a_line_without_end_neither_blocks_nor_fills_the_memory(stage: Stage) -> None:
    await stage.start("import sys; sys.stdout.write('x' * 1_000_000); print(); print('after')", restart=False)
    await eventually(lambda: "child   | after" in stage.lines())
    assert sum(line.count("x") for line in stage.lines()) == 1_000_000


async def test_a_dead_child_is_named_with_its_code_and_started_again(stage: Stage, tmp_path: Path) -> None:
    code = (
        f"import pathlib, sys, time; p = pathlib.Path({str(tmp_path / 'seen')!r})\n"
        "if not p.exists(): p.touch(); sys.exit(7)\n"
        "print('back'); time.sleep(60)"
    )
    await stage.start(code)
    await eventually(lambda: "child   | back" in stage.lines())
    assert "up      | child ended with exit code 7; it starts again in 0.5 s." in stage.lines()


async def test_a_child_that_dies_again_and_again_ends_everything(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("devtools.supervisor.children.RESTARTS", 1)
    await stage.start("import sys; sys.exit(3)")
    await eventually(lambda: stage.failures)
    assert str(stage.failures[0]).startswith("child ended with exit code 3, ")


async def test_a_child_that_ignores_the_request_is_killed_with_its_own_children(stage: Stage) -> None:
    child = await stage.start(
        "import signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']).pid)\n"
        "time.sleep(60)",
        stop_seconds=0.3,
    )
    await eventually(lambda: stage.lines())
    grandchild = int(stage.lines()[0].split("|")[1])
    await child.stop()
    assert "up      | child did not end in time and is killed." in stage.lines()
    await eventually(lambda: gone(grandchild))


async def test_stopping_ends_a_child_that_waits_for_its_restart(stage: Stage) -> None:
    child = await stage.start("import sys; sys.exit(1)")
    await eventually(lambda: stage.lines())
    await asyncio.wait_for(child.stop(), 2)
    assert len(stage.lines()) == 1


SUPERVISOR = """
import asyncio, io, os, sys, pathlib
from devtools.supervisor import state_dir
from devtools.supervisor.children import Child, Output, Program, Watchdog

async def main():
    watchdog = Watchdog(state_dir.lock(pathlib.Path(sys.argv[1])))
    await watchdog.start()
    program = Program("child", (sys.executable, "-uc", "import os, time; print(os.getpid()); time.sleep(60)"))
    await Child(program, os.environ, Output(sys.stdout), watchdog, print).start()
    await asyncio.sleep(60)

asyncio.run(main())
"""


async def test_kill_9_of_the_supervisor_leaves_no_process_and_frees_the_folder(tmp_path: Path) -> None:
    supervisor = await asyncio.create_subprocess_exec(
        *(sys.executable, "-uc", SUPERVISOR, str(tmp_path)), stdout=asyncio.subprocess.PIPE, cwd=ROOT
    )
    assert supervisor.stdout
    child = int((await supervisor.stdout.readline()).split(b"|")[1])
    with pytest.raises(Failure, match=f"process {supervisor.pid}"):
        state_dir.lock(tmp_path)
    supervisor.kill()
    await supervisor.wait()
    await eventually(lambda: gone(child))
    await asyncio.to_thread(lambda: state_dir.lock(tmp_path).close())


def test_ports_stay_the_same_until_somebody_takes_one(tmp_path: Path) -> None:
    first = state_dir.ports(tmp_path, ["temporal", "health"])
    assert state_dir.ports(tmp_path, ["temporal", "health"]) == first
    with socket.create_server((state_dir.HOST, first["temporal"])):
        second = state_dir.ports(tmp_path, ["temporal", "health"])
    assert second["temporal"] != first["temporal"]
    assert second["health"] == first["health"]


@pytest.mark.parametrize(
    "kept", ["not json", "[]", '{"temporal": "x"}', '{"temporal": 80}', '{"temporal": true}']
)
def test_a_damaged_list_of_ports_is_replaced(tmp_path: Path, kept: str) -> None:
    (tmp_path / "ports.json").write_text(kept)
    assert state_dir.ports(tmp_path, ["temporal"])["temporal"] > 1023


def test_secrets_are_made_once_for_their_owner_alone(tmp_path: Path) -> None:
    path = state_dir.secret(tmp_path, "secret_key")
    text = path.read_text()
    assert len(text) >= 50
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert state_dir.secret(tmp_path, "secret_key").read_text() == text


async def test_demo_is_refused_where_others_run_workflows(client: Client) -> None:
    handle = await client.start_workflow("SomebodyElses", id=f"foreign-{uuid.uuid4()}", task_queue="nobody")
    try:
        await eventually(lambda: client.count_workflows("WorkflowType = 'SomebodyElses'"))

        async def refused() -> bool:
            try:
                await temporal_server.check(conf(), demo=True)
            except Failure as failure:
                return "DEMO=1 is refused" in str(failure)
            return False

        await eventually(refused)
        await temporal_server.check(conf(), demo=False)
    finally:
        await handle.terminate()


def up(state: Path, port: int | str, **settings: str) -> subprocess.Popen[str]:
    """`manage.py up` as `make up` runs it, with a state folder of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TEMPORAL_", "DEMO"))}
    environment = {**kept, "SIGNALBOX_MODE": "development", "SIGNALBOX_STATE_DIR": str(state)}
    return subprocess.Popen(
        (sys.executable, "manage.py", "up", "--port", str(port)),
        cwd=ROOT,
        env={**environment, "DJANGO_SETTINGS_MODULE": "dashboard.settings", **settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def any_port() -> int:
    with socket.create_server((state_dir.HOST, 0)) as listener:
        return int(listener.getsockname()[1])


def refusal(state: Path, port: int | str, **settings: str) -> str:
    """What `up` says when it does not start; it must be one sentence and a failure."""
    process = up(state, port, **settings)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 1, said
    lines = [line.removeprefix("up      | ").removeprefix("CommandError: ") for line in said.splitlines()]
    assert "Traceback" not in said
    return lines[-1]


def test_a_port_in_use_is_one_sentence_and_a_failure(tmp_path: Path) -> None:
    with socket.create_server((state_dir.HOST, 0)) as listener:
        port = listener.getsockname()[1]
        assert refusal(tmp_path, port).startswith(f"Port {port} is in use; ")


def test_a_wrong_address_is_one_sentence_and_a_failure(tmp_path: Path) -> None:
    said = refusal(tmp_path, any_port(), TEMPORAL_ADDRESS="127.0.0.1:1")
    assert "TEMPORAL_ADDRESS=127.0.0.1:1 cannot be used: Temporal cannot be reached." in said


def test_a_failed_migration_is_one_sentence_and_a_failure(tmp_path: Path, server: str) -> None:
    (tmp_path / "signalbox.sqlite3").write_text("this is no database, however long one looks at it. " * 100)
    said = refusal(tmp_path, any_port(), TEMPORAL_ADDRESS=server)
    database = tmp_path / "signalbox.sqlite3"
    assert said.startswith(f"The migration of the database {database} failed: file is not a database")


def test_no_server_to_be_had_is_one_sentence_and_a_failure(tmp_path: Path) -> None:
    said = refusal(tmp_path, any_port(), TEMPORAL_CLI="", **nothing_to_fetch(tmp_path))
    assert said.startswith("No Temporal dev server is available.")


def nothing_to_fetch(folder: Path) -> dict[str, str]:
    """Settings under which no binary is kept, none can be downloaded and none can be built."""
    dead = "http://127.0.0.1:1"
    return {
        "XDG_CACHE_HOME": str(folder / "cache"),
        "HOME": str(folder),
        "PATH": str(folder),
        **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), dead),
    }


async def test_everything_starts_serves_a_page_and_ends_without_a_trace(tmp_path: Path) -> None:
    port = any_port()
    process = up(tmp_path, port)
    told: list[str] = []
    assert process.stdout
    reader = asyncio.create_task(asyncio.to_thread(lambda: told.extend(process.stdout or [])))
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http:

            async def open_page() -> bool:
                assert process.poll() is None, "".join(told)
                with suppress(httpx.HTTPError):
                    return (await http.get("/login/")).status_code == 200
                return False

            await eventually(open_page, timeout=60)
            await eventually(lambda: any(re.match(r"worker  \| \S+ INFO", line) for line in told), timeout=60)
        pids = children(process.pid)
        assert len(pids) >= 5  # watchdog, server, sandbox, worker, web
    finally:
        process.send_signal(signal.SIGINT)
        code = await asyncio.to_thread(process.wait, 60)
        await reader
    assert code == 0, "".join(told)
    assert [pid for pid in pids if not gone(pid)] == []
    assert re.search(r"Signalbox is open at http://127\.0\.0\.1:\d+/", "".join(told))
    assert told[-1].endswith("All stopped.\n")


def children(parent: int) -> list[int]:
    """Pids of the direct children of a process."""
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(parent)], capture_output=True, text=True)
    return [int(line) for line in listed.stdout.split()]
