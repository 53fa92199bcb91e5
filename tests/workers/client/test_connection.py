"""The connection: one a process, whoever asks; absence told as TemporalUnavailable; living pollers."""

from __future__ import annotations

import asyncio
import uuid

import pytest
from temporalio import workflow
from temporalio.service import RPCError, RPCStatusCode, TLSConfig

from tests.support import eventually
from workers.client import connection
from workers.client.errors import (
    BadQuery,
    CallFailed,
    NoAnswer,
    RunNotFound,
    TemporalUnavailable,
    rpc_errors,
)
from workers.conf import ConfigurationError, WorkersConf


@workflow.defn(name="PolledWorkflow")
class PolledWorkflow:
    @workflow.run
    async def run(self) -> None:
        return


@pytest.fixture
def forgotten(client):
    """No client known yet; afterwards the session's is back."""
    connection.set_client(None)
    yield
    connection.set_client(client)


async def test_all_who_ask_at_once_share_one_connection(forgotten, monkeypatch):
    made = 0
    real = connection.connect

    async def counted(*args, **kwargs):
        nonlocal made
        made += 1
        return await real(*args, **kwargs)

    monkeypatch.setattr(connection, "connect", counted)
    clients = await asyncio.gather(*(connection.get_client() for _ in range(20)))
    assert made == 1
    assert len({id(each) for each in clients}) == 1
    assert await connection.get_client() is clients[0]


async def test_other_threads_with_loops_of_their_own_share_it_too(forgotten):
    def ask():
        return asyncio.run(connection.get_client())

    clients = await asyncio.gather(*(asyncio.to_thread(ask) for _ in range(6)))
    assert len({id(each) for each in clients}) == 1
    assert await clients[0].count_workflows("WorkflowId = 'nobody'")


async def test_a_server_that_is_away_is_told_and_the_next_call_tries_again(forgotten, settings, server):
    good = settings.WORKERS
    settings.WORKERS = good.model_copy(update={"address": "127.0.0.1:1"})
    answers = await asyncio.gather(*(connection.get_client() for _ in range(3)), return_exceptions=True)
    assert all(isinstance(answer, TemporalUnavailable) for answer in answers)
    settings.WORKERS = good
    assert await connection.get_client()


async def test_the_client_of_a_command_waits_longer_than_that_of_a_page(forgotten, monkeypatch):
    monkeypatch.setattr(connection, "_for_command", False)
    page = await connection.get_client()
    connection.set_client(None)
    connection.serve_command()
    command = await connection.get_client()
    page_waits, command_waits = (each.service_client.config.connect_timeout for each in (page, command))
    assert (page_waits.total_seconds(), command_waits.total_seconds()) == (2, 10)


async def test_pollers_are_seen_when_a_worker_lives(client, queue, worker):
    assert not await connection.has_pollers(client, queue)
    other = f"queue-{uuid.uuid4().hex}"
    async with worker(other, workflows=[PolledWorkflow]):
        await eventually(lambda: connection.has_pollers(client, other))


async def test_the_answer_about_pollers_is_kept_for_a_moment(client, queue, monkeypatch):
    await connection.has_pollers(client, queue)

    async def never(*args, **kwargs):
        raise AssertionError("asked again")

    monkeypatch.setattr(type(client.workflow_service), "describe_task_queue", never, raising=False)
    assert not await connection.has_pollers(client, queue)


def test_tls_follows_the_settings(tmp_path):
    for name in ("ca", "cert", "key"):
        (tmp_path / name).write_bytes(name.encode())
    plain = WorkersConf(address="a:1")
    assert connection.tls_config(plain) is None
    assert connection.tls_config(plain.model_copy(update={"tls": True})) is True
    paths = {
        "tls_server_ca": tmp_path / "ca",
        "tls_client_cert": tmp_path / "cert",
        "tls_client_key": tmp_path / "key",
    }
    made = connection.tls_config(plain.model_copy(update=paths))
    assert isinstance(made, TLSConfig)
    assert (made.server_root_ca_cert, made.client_cert, made.client_private_key) == (b"ca", b"cert", b"key")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        connection.tls_config(plain.model_copy(update={"tls_server_ca": tmp_path / "none"}))


FAULTS = (
    RPCStatusCode.INTERNAL,
    RPCStatusCode.UNKNOWN,
    RPCStatusCode.UNIMPLEMENTED,
    RPCStatusCode.ABORTED,
    RPCStatusCode.DATA_LOSS,
    RPCStatusCode.OUT_OF_RANGE,
)


@pytest.mark.parametrize(
    ("status", "text", "expected"),
    [
        (RPCStatusCode.UNAVAILABLE, "", TemporalUnavailable),
        (RPCStatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded", TemporalUnavailable),
        (RPCStatusCode.DEADLINE_EXCEEDED, "query timed out before a worker could process it", NoAnswer),
        (RPCStatusCode.FAILED_PRECONDITION, "no poller seen for task queue recently", NoAnswer),
        (RPCStatusCode.NOT_FOUND, "workflow not found for ID: x", RunNotFound),
        (RPCStatusCode.NOT_FOUND, "Namespace x is not found.", TemporalUnavailable),
        (RPCStatusCode.INVALID_ARGUMENT, "Invalid RunId.", RunNotFound),
        (RPCStatusCode.INVALID_ARGUMENT, "invalid query: syntax error", BadQuery),
        (RPCStatusCode.UNAUTHENTICATED, "", TemporalUnavailable),
        *((status, "detail", CallFailed) for status in FAULTS),
    ],
)
def test_errors_get_our_words(status, text, expected):
    with pytest.raises(expected), rpc_errors():
        raise RPCError(text, status, b"")


@pytest.mark.parametrize("status", FAULTS)
def test_a_fault_of_the_server_is_logged_and_keeps_its_message_from_pages(status, caplog):
    with pytest.raises(TemporalUnavailable) as raised, rpc_errors():
        raise RPCError("shard 7 of 10.0.0.1 is lost", status, b"")
    assert "shard" not in raised.value.message
    assert f"{status.name}: shard 7 of 10.0.0.1 is lost" in caplog.text


async def test_errors_of_a_real_server_get_our_words(client):
    with pytest.raises(RunNotFound), rpc_errors():
        await client.get_workflow_handle(f"none-{uuid.uuid4()}").describe()
    with pytest.raises(RunNotFound), rpc_errors():
        await client.get_workflow_handle("x", run_id="not-a-run").describe()
    with pytest.raises(BadQuery, match="syntax"), rpc_errors():
        await client.count_workflows("WorkflowId === 'x'")


def test_other_errors_pass():
    with pytest.raises(RuntimeError, match="ours"), rpc_errors():
        raise RuntimeError("ours")
