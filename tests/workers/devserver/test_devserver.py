"""The dev server: starts tuned and tells in one sentence why it cannot."""

from __future__ import annotations

import socket
import stat

import pytest
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client

from workers.devserver import binary as devbinary
from workers.devserver import server as devserver
from workers.devserver.server import Unavailable


@pytest.fixture
def script(tmp_path):
    """An executable that says `text` and exits with `code`."""

    def make(name: str, text: str, code: int):
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\necho '{text}' >&2\nexit {code}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return path

    return make


@pytest.fixture
def no_ways(monkeypatch, tmp_path):
    """No binary on PATH, and no download."""

    async def blocked(*args, **kwargs):
        raise RuntimeError("failed to download")

    monkeypatch.delenv("TEMPORAL_CLI", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(devbinary.WorkflowEnvironment, "start_local", blocked)


async def test_own_namespace_is_kept_for_seven_days_and_survives_a_restart(tmp_path):
    database = tmp_path / "temporal.db"
    for _ in range(2):
        server = await devserver.start(database=database, namespace="signalbox")
        try:
            client = await Client.connect(server.address, namespace="signalbox")
            answer = await client.workflow_service.describe_namespace(
                DescribeNamespaceRequest(namespace="signalbox")
            )
            assert answer.config.workflow_execution_retention_ttl.ToTimedelta() == devserver.RETENTION
        finally:
            await server.stop()
        assert server.process.returncode is not None
        await server.stop()  # twice is fine


async def test_a_port_in_use_is_told():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(Unavailable, match=f"Port {port} is in use"):
            await devserver.start(port=port)


async def test_all_ways_that_failed_are_told(no_ways, tmp_path, script):
    script("go", "no module proxy", 1)
    with pytest.raises(Unavailable) as caught:
        await devbinary.find_binary(tmp_path / "cache")
    said = str(caught.value)
    for part in (
        "none is on PATH",
        "failed to download",
        "go install",
        "no module proxy",
        "TEMPORAL_ADDRESS",
    ):
        assert part in said
    assert not list((tmp_path / "cache").iterdir())


async def test_without_go_that_is_told(no_ways, tmp_path):
    with pytest.raises(Unavailable, match="go is not on PATH"):
        await devbinary.find_binary(tmp_path / "cache")


async def test_a_build_lands_whole_in_the_cache(no_ways, tmp_path, script, monkeypatch):
    go = script("go", "", 0)
    go.write_text('#!/bin/sh\necho binary > "$GOBIN/temporal"\n')
    found = await devbinary.find_binary(tmp_path / "cache")
    assert found.read_text() == "binary\n"
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [f"temporal-{devbinary.VERSION}"]


async def test_a_named_binary_comes_first(monkeypatch, script):
    path = script("mine", "", 0)
    monkeypatch.setenv("TEMPORAL_CLI", str(path))
    assert await devbinary.find_binary() == path


async def test_a_named_binary_that_is_none_is_refused_and_nothing_else_tried(monkeypatch, tmp_path):
    monkeypatch.setenv("TEMPORAL_CLI", str(tmp_path / "none"))
    with pytest.raises(Unavailable, match=r"TEMPORAL_CLI: .*none is not an executable"):
        await devbinary.find_binary(tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


async def test_the_process_is_known_before_the_server_answers(monkeypatch, script):
    monkeypatch.setenv("TEMPORAL_CLI", str(script("broken", "database is locked", 1)))
    spawned: list[int] = []
    with pytest.raises(Unavailable):
        await devserver.start(on_spawn=spawned.append)
    assert len(spawned) == 1


async def test_a_server_that_ends_at_once_is_quoted(monkeypatch, script):
    monkeypatch.setenv("TEMPORAL_CLI", str(script("broken", "database is locked", 1)))
    with pytest.raises(Unavailable, match="database is locked"):
        await devserver.start()
