"""One Temporal dev server a run, one client, and workers as the product runs them."""

from __future__ import annotations

import os
import uuid
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.core.management import call_command
from django.db import connection
from temporalio.client import Client
from temporalio.worker import Worker

from workers.client.attributes import PLATFORM, ensure
from workers.client.connection import connect, set_client
from workers.conf import conf
from workers.devserver import server as devserver
from workers.registry.registry import activity_name, registry

try:
    from tests.personas import *  # noqa: F403 (fixtures)
except ModuleNotFoundError as error:
    if error.name != "tests.personas":
        raise

WorkerFactory = Callable[..., AbstractAsyncContextManager[None]]


@pytest.fixture(scope="session")
async def server() -> AsyncIterator[str]:
    """The address of the run's Temporal server, with the attributes of all apps; settings point to it."""
    given = os.environ.get("TEMPORAL_ADDRESS")
    if given and not given.startswith(("127.0.0.1:", "localhost:")):
        pytest.exit(
            f"TEMPORAL_ADDRESS is {given}; tests write to their server, so it must be a local one.", 2
        )
    started = None if given else await devserver.start()
    address = given or (started.address if started else "")
    os.environ["TEMPORAL_ADDRESS"] = address  # for the processes that tests start
    django_settings.WORKERS = conf().model_copy(update={"address": address})
    try:
        registry.load()
        await ensure(await connect(for_worker=True), [*PLATFORM, *registry.attributes])
        yield address
    finally:
        if started:
            await started.stop()


@pytest.fixture(scope="session")
async def client(server: str) -> AsyncIterator[Client]:
    """The client of this process, patient as a worker's, so that a busy machine fails no test."""
    made = await connect(for_worker=True)
    set_client(made)
    yield made
    set_client(None)


@pytest.fixture
def queue() -> str:
    """A task queue that no other test uses."""
    return f"queue-{uuid.uuid4().hex}"


@pytest.fixture(scope="session")
def tables(django_db_setup: None, django_db_blocker: Any) -> None:
    """The tables that activities read are there, also when no chosen test asks for the database itself."""
    with django_db_blocker.unblock():
        if not connection.introspection.table_names():
            call_command("migrate", verbosity=0)


@pytest.fixture
def worker(client: Client, tables: None, django_db_blocker: Any) -> WorkerFactory:
    """`async with worker(queue, workflows=[...], activities=[...]):` as runworker would run it.

    Without workflows and activities: what the registry has for that queue. Activities may be replaced, see
    workers/testing/swap.py.
    """
    from temporalio.plugin import SimplePlugin

    from workers.process.plugins import worker_plugins
    from workers.testing.swap import SwapInterceptor

    @asynccontextmanager
    async def running(
        *queues: str, workflows: Iterable[type] = (), activities: Iterable[Callable[..., Any]] = ()
    ) -> AsyncIterator[None]:
        swap = SimplePlugin("swap", interceptors=[SwapInterceptor()])
        plugins = [*worker_plugins(), swap]  # shared, as in a worker process
        async with AsyncExitStack() as stack:
            # Activities tidy up connections that earlier tests left open, also in tests without a database.
            stack.enter_context(django_db_blocker.unblock())
            executor = stack.enter_context(ThreadPoolExecutor(16))
            for name in queues:
                known = registry.queues.get(name)
                acts = [*activities] or [*(known.activities if known else ())]
                await stack.enter_async_context(
                    Worker(
                        client,
                        task_queue=name,
                        workflows=[*workflows] or [*(known.workflows if known else ())],
                        activities=[*{activity_name(fn): fn for fn in [*registry.shared, *acts]}.values()],
                        activity_executor=executor,
                        max_concurrent_activities=16,
                        plugins=plugins,
                    )
                )
            yield

    return running
