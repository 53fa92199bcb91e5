"""The worker's log while Temporal is away, and workers that go on over renewed certificates."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from temporalio.client import Client
from temporalio.worker import Worker

from tests.support import eventually
from tests.workers.client.proxy import Authority, proxy
from tests.workers.sample_workflows import NappingWorkflow
from workers.client import connection
from workers.client.connection import connect
from workers.conf import conf
from workers.process.watch import Absence, watch_server


@asynccontextmanager
async def watching(client: Client, *workers: Worker) -> AsyncIterator[None]:
    task = asyncio.create_task(watch_server(client, workers, every=0.05))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def test_an_absence_is_said_at_once_then_each_minute_then_its_end(caplog):
    times = iter([*range(0, 130, 5), 145])
    absence = Absence(lambda: next(times))
    for _ in range(0, 130, 5):
        absence.away("Temporal cannot be reached.")
    absence.back()
    absence.back()
    first, *reminders, end = caplog.messages
    assert first.startswith("Temporal is away since 2")
    assert [line.partition(", for ")[2] for line in reminders] == [
        "60 s: Temporal cannot be reached.",
        "120 s: Temporal cannot be reached.",
    ]
    assert end == "Temporal is back after 145 s."


async def test_a_server_that_goes_away_and_comes_back_is_logged(server, caplog):
    async with proxy(server) as between:
        client = await connect(conf().model_copy(update={"address": between.address}))
        async with watching(client):
            between.target = "127.0.0.1:1"
            between.cut()
            await eventually(lambda: any("is away since" in line for line in caplog.messages))
            between.target = server
            await eventually(lambda: any("is back after" in line for line in caplog.messages))
    assert sum("is away since" in line for line in caplog.messages) == 1


async def test_workers_poll_by_the_connection_of_renewed_certificates(client, server, tmp_path, monkeypatch):
    authority, queue = Authority(tmp_path), f"queue-{uuid.uuid4().hex}"
    authority.issue("client", "first")
    async with proxy(server, authority.server()) as between:
        paths = {"tls_server_ca": "ca.pem", "tls_client_cert": "client.pem", "tls_client_key": "client.key"}
        settings = conf().model_copy(
            update={name: tmp_path / file for name, file in paths.items()}
            | {"address": between.address.replace("127.0.0.1", "localhost")}
        )
        monkeypatch.setattr(connection, "CERTIFICATES_SECONDS", 0.0)
        own = await connect(settings, for_worker=True)
        worker = Worker(own, task_queue=queue, workflows=[NappingWorkflow])
        async with worker, watching(own, worker):
            authority.issue("client", "second")
            await eventually(lambda: "second" in between.names)
            between.trusted = {"second"}  # the first one has expired
            between.cut()
            handle = await client.start_workflow("Napping", 0.1, id=queue, task_queue=queue)

            async def worked() -> bool:
                history = await handle.fetch_history()
                return any(e.HasField("workflow_task_completed_event_attributes") for e in history.events)

            await eventually(worked)
        await handle.terminate()
