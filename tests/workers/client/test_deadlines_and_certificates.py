"""Every call has a deadline, and certificates that are renewed are used without a restart."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from tests.support import eventually
from tests.workers.client.proxy import Authority, proxy
from workers.client import attributes, connection
from workers.client.connection import connect
from workers.client.errors import TemporalUnavailable, rpc_errors
from workers.conf import conf

ROOT = Path(__file__).resolve().parents[3]


async def test_a_call_without_a_timeout_ends_by_the_setting_when_the_server_is_silent(server):
    async with proxy(server) as between:
        settings = conf().model_copy(update={"address": between.address, "rpc_timeout": 0.3})
        client = await connect(settings)
        assert await attributes.registered(client)
        between.flowing.clear()
        began = time.monotonic()
        for call in (lambda: attributes.registered(client), lambda: client.count_workflows("")):
            with pytest.raises(TemporalUnavailable), rpc_errors():
                await call()
        assert time.monotonic() - began < 10  # the SDK's own patience is 30 seconds for each


def test_all_clients_of_the_apps_are_made_where_calls_get_their_deadline():
    made = {
        path.relative_to(ROOT).as_posix()
        for app in ("workers", "dashboard", "orders", "devtools")
        for path in (ROOT / app).rglob("*.py")
        if re.search(r"(?<!httpx\.)\bClient(\.connect)?\(", path.read_text())
    }
    # the dev server waits for its own answer within a deadline for the whole start
    assert made == {"workers/client/connection.py", "workers/devserver/server.py"}


async def test_a_call_that_waits_for_an_event_has_no_such_deadline(client, server, queue, worker):
    from tests.workers import sample_workflows

    impatient = await connect(conf().model_copy(update={"rpc_timeout": 0.2}))
    async with worker(queue, workflows=[sample_workflows.NappingWorkflow], activities=[sample_workflows.nap]):
        handle = await client.start_workflow("Napping", 1.0, id=f"nap-{queue}", task_queue=queue)
        await impatient.get_workflow_handle(handle.id).result()


async def test_renewed_certificates_are_used_by_the_next_connection(server, tmp_path, monkeypatch):
    authority = Authority(tmp_path)
    authority.issue("client", "first")
    async with proxy(server, authority.server()) as between:
        paths = {"tls_server_ca": "ca.pem", "tls_client_cert": "client.pem", "tls_client_key": "client.key"}
        settings = conf().model_copy(
            update={name: tmp_path / file for name, file in paths.items()}
            | {"address": between.address.replace("127.0.0.1", "localhost")}
        )
        monkeypatch.setattr(connection, "CERTIFICATES_SECONDS", 0.0)
        client = await connect(settings)
        first = client.service_client.worker_service_client
        assert await client.count_workflows("")
        assert set(between.names) == {"first"}
        assert client.service_client.worker_service_client is first  # the same files: no new connection

        (tmp_path / "client.key").write_text("half written")
        assert await client.count_workflows("")
        assert set(between.names) == {"first"}

        authority.issue("client", "second")
        assert await client.count_workflows("")
        assert between.names[-1] == "second"
        between.cut()
        await eventually(lambda: client.count_workflows(""))
        assert between.names[-1] == "second"
