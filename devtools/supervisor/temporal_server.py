"""The Temporal server under the demo: our own dev server, or the one that TEMPORAL_ADDRESS names."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path

from devtools.supervisor.children import word
from devtools.supervisor.state_dir import Failure
from workers.client.connection import connect
from workers.client.errors import TemporalError, rpc_errors
from workers.conf import ConfigurationError, WorkersConf
from workers.devserver import binary as devbinary
from workers.devserver import server as devserver
from workers.registry.registry import registry, workflow_name

NAMESPACE = "signalbox"
_WATCH_SECONDS = 0.5
_CONNECT_SECONDS = 3.0


async def start(state: Path, port: int, on_spawn: Callable[[int], None]) -> devserver.DevServer:
    """Our own server, on the database of the last time. `on_spawn` gets its process id. Raises Failure."""
    try:
        return await devserver.start(
            port=port, database=state / "temporal.db", namespace=NAMESPACE, on_spawn=on_spawn
        )
    except devbinary.Unavailable as error:
        hint = ""
        if "not a database" in str(error):
            hint = f" {state / 'temporal.db'} is damaged: put a copy back, or start anew by `make clean`."
        raise Failure(f"{error}{hint}") from error


async def died(server: devserver.DevServer) -> Failure:
    """Returns when the server is gone. What was in flight there cannot be carried on, so all stop."""
    while server.process.poll() is None:  # noqa: ASYNC110 (subprocess has no event to wait for)
        await asyncio.sleep(_WATCH_SECONDS)
    return Failure(
        f"The Temporal server ended with {word(server.process.returncode)}; everything is stopped."
    )


def _foreign() -> str:
    """The visibility query of runs whose type no app of ours has registered."""
    registry.load()
    known = {workflow_name(cls) for queue in registry.queues.values() for cls in queue.workflows}
    return " AND ".join(f'WorkflowType != "{name}"' for name in sorted(known))


async def _network_problem(address: str) -> str:
    """A sentence on what the network says about host:port; empty where something accepts connections."""
    host, _, port = address.rpartition(":")
    try:
        async with asyncio.timeout(_CONNECT_SECONDS):
            _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
        writer.close()
    except socket.gaierror:
        return f" The name {host} is not known."
    except ConnectionRefusedError:
        return " Nothing listens there."
    except TimeoutError:
        return " There is no answer at all: a wrong address, or a firewall."
    except OSError as error:
        return f" {error.strerror}."
    return (
        " Something listens there: is it a Temporal server's gRPC port, and does it take TLS (TEMPORAL_TLS)?"
    )


async def check(conf: WorkersConf, *, demo: bool) -> None:
    """Can the named server be reached, and is its namespace ours to play in? Only reads. Raises Failure."""
    where = f"namespace {conf.namespace!r} at TEMPORAL_ADDRESS={conf.address}"
    try:
        client = await connect(conf)
        with rpc_errors():
            await client.count_workflows("")
            others = (await client.count_workflows(_foreign())).count if demo else 0
    except ConfigurationError as error:
        raise Failure(f"The {where} cannot be used: {error}") from error
    except TemporalError as error:
        raise Failure(f"The {where} cannot be used: {error}{await _network_problem(conf.address)}") from error
    if others:
        raise Failure(
            f"DEMO=1 is refused: the {where} holds {others} workflows of types that are not ours; "
            "name an empty namespace by TEMPORAL_NAMESPACE."
        )
