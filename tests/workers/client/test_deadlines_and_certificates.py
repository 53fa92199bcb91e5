"""Every call has a deadline, and certificates that are renewed are used without a restart."""

from __future__ import annotations

import asyncio
import re
import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from temporalio.worker import Worker

from tests.support import eventually
from tests.workers.client.proxy import Authority, proxy
from workers.client import attributes, connection
from workers.client.connection import connect
from workers.client.errors import TemporalUnavailable, rpc_errors
from workers.conf import WorkersConf, conf

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
        files = {"tls_server_ca": "ca.pem", "tls_client_cert": "client.pem", "tls_client_key": "client.key"}
        settings = by_tls(between.address, tmp_path, **files)
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


def by_tls(address: str, folder: Path, **paths: str) -> WorkersConf:
    """The settings of a client that reaches `address` by TLS, with these files of a folder."""
    found = {name: folder / file for name, file in paths.items()}
    return conf().model_copy(update={**found, "address": address.replace("127.0.0.1", "localhost")})


async def test_a_worker_works_by_mutual_tls(server, tmp_path, queue):
    from tests.workers import sample_workflows

    authority = Authority(tmp_path)
    authority.issue("client", "worker")
    async with proxy(server, authority.server()) as between:
        files = {"tls_server_ca": "ca.pem", "tls_client_cert": "client.pem", "tls_client_key": "client.key"}
        client = await connect(by_tls(between.address, tmp_path, **files), for_worker=True)
        options = {"workflows": [sample_workflows.NappingWorkflow], "activities": [sample_workflows.nap]}
        with ThreadPoolExecutor(1) as executor:
            async with Worker(client, task_queue=queue, activity_executor=executor, **options):
                handle = await client.start_workflow("Napping", 0.01, id=f"tls-{queue}", task_queue=queue)
                await handle.result()
        assert set(between.names) == {"worker"}


@pytest.mark.parametrize("for_worker", [False, True], ids=["client", "worker"])
async def test_tls_without_a_certificate_of_our_own(server, tmp_path, for_worker):
    async with proxy(server, Authority(tmp_path).server(mutual=False)) as between:
        settings = by_tls(between.address, tmp_path, tls_server_ca="ca.pem")
        client = await connect(settings, for_worker=for_worker)
        await client.count_workflows("")
        assert between.names == []


@pytest.mark.parametrize("for_worker", [False, True], ids=["client", "worker"])
async def test_a_server_of_another_authority_is_refused(server, tmp_path, for_worker):
    other = tmp_path / "other"
    other.mkdir()
    Authority(other)
    async with proxy(server, Authority(tmp_path).server(mutual=False)) as between:
        with pytest.raises(TemporalUnavailable):
            await connect(by_tls(between.address, other, tls_server_ca="ca.pem"), for_worker=for_worker)


@pytest.mark.parametrize("for_worker", [False, True], ids=["client", "worker"])
async def test_a_server_that_asks_for_a_certificate_refuses_who_has_none(server, tmp_path, for_worker):
    async with proxy(server, Authority(tmp_path).server()) as between:
        with pytest.raises(TemporalUnavailable):
            await connect(by_tls(between.address, tmp_path, tls_server_ca="ca.pem"), for_worker=for_worker)
        assert between.names == []


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
async def test_a_server_that_speaks_no_more_than_tls_1_1_is_refused(server, tmp_path):
    old = Authority(tmp_path).server(mutual=False)
    permissive = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
    for context in (old, permissive):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
        context.set_ciphers("ALL:@SECLEVEL=0")
    async with proxy(server, old) as between:
        host, _, port = between.address.rpartition(":")
        _, writer = await asyncio.open_connection(
            host, int(port), ssl=permissive, server_hostname="localhost"
        )
        assert writer.get_extra_info("ssl_object").version() == "TLSv1.1"  # who takes it gets it
        writer.close()
        with pytest.raises(TemporalUnavailable):
            await connect(by_tls(between.address, tmp_path, tls_server_ca="ca.pem"))
