"""The Temporal server under the demo: our own dev server, or the one that TEMPORAL_ADDRESS names."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from devtools.supervisor.state_dir import Failure
from workers.client.connection import connect
from workers.client.errors import TemporalError, rpc_errors
from workers.conf import ConfigurationError, WorkersConf
from workers.devserver import binary as devbinary
from workers.devserver import server as devserver
from workers.registry.registry import registry, workflow_name

NAMESPACE = "signalbox"
_WATCH_SECONDS = 0.5


async def start(state: Path, port: int, on_spawn: Callable[[int], None]) -> devserver.DevServer:
    """Our own server, on the database of the last time. `on_spawn` gets its process id. Raises Failure."""
    try:
        return await devserver.start(
            port=port, database=state / "temporal.db", namespace=NAMESPACE, on_spawn=on_spawn
        )
    except devbinary.Unavailable as error:
        raise Failure(str(error)) from error


async def died(server: devserver.DevServer) -> Failure:
    """Returns when the server is gone. What was in flight there cannot be carried on, so all stop."""
    while server.process.poll() is None:  # noqa: ASYNC110 (subprocess has no event to wait for)
        await asyncio.sleep(_WATCH_SECONDS)
    return Failure(f"The Temporal server ended with code {server.process.returncode}; everything is stopped.")


def _foreign() -> str:
    """The visibility query of runs whose type no app of ours has registered."""
    registry.load()
    known = {workflow_name(cls) for queue in registry.queues.values() for cls in queue.workflows}
    return " AND ".join(f'WorkflowType != "{name}"' for name in sorted(known))


async def check(conf: WorkersConf, *, demo: bool) -> None:
    """Can the named server be reached, and is its namespace ours to play in? Only reads. Raises Failure."""
    where = f"namespace {conf.namespace!r} at TEMPORAL_ADDRESS={conf.address}"
    try:
        client = await connect(conf)
        with rpc_errors():
            await client.count_workflows("")
            others = (await client.count_workflows(_foreign())).count if demo else 0
    except (TemporalError, ConfigurationError) as error:
        raise Failure(f"The {where} cannot be used: {error}") from error
    if others:
        raise Failure(
            f"DEMO=1 is refused: the {where} holds {others} workflows of types that are not ours; "
            "name an empty namespace by TEMPORAL_NAMESPACE."
        )
