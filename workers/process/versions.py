"""Worker deployments: which build of the code a worker runs, and which runs may move to a newer one.

Short workflows are pinned: they end on the build that they began on, so a deploy cannot break their replay.
Entities, which live for months and continue as new, move on to the current build; their changes go behind
`workflow.patched`. Which are entities is declared at registration, not in the definition: the server refuses
every task of an unversioned worker that tells a behaviour, and workers are unversioned unless
WORKER_DEPLOYMENT is set.
"""

from __future__ import annotations

import ast
import asyncio
import hashlib
import sysconfig
import time
from collections.abc import Iterator
from datetime import timedelta
from importlib.machinery import PathFinder
from importlib.util import resolve_name
from itertools import accumulate
from pathlib import Path

from temporalio.api.workflowservice.v1 import SetWorkerDeploymentCurrentVersionRequest
from temporalio.client import Client
from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
from temporalio.worker import WorkerDeploymentConfig

from workers.client.errors import NoAnswer, RunNotFound, TemporalError, rpc_errors
from workers.conf import WorkersConf
from workers.registry.registry import Queue, Registry, registry, workflow_name

_WORKERS = Path(__file__).parents[1]
_NO_CODE_OF_RUNS = {"devserver", "management", "migrations", "testing"}
_INSTALLED = {sysconfig.get_path(kind) for kind in ("stdlib", "platstdlib", "purelib", "platlib")}
_CALL = timedelta(seconds=30)  # the server runs a workflow of its own for it
_CURRENT_SECONDS = 30.0  # a worker that has just started is known to the server a moment later


class NotDeployed(TemporalError):
    """The server knows no worker of this build."""


def build_id(settings: WorkersConf, of: Registry = registry) -> str:
    """WORKER_BUILD_ID, or twelve hex digits over the code that runs of workflows and activities come from.

    That is: this platform; every module that defines something registered, and what it imports of the
    project, directly or not (so a page of an app that also registers an activity changes nothing); and the
    versions of the packages that plugins were installed from. The same code gives the same id everywhere.
    """
    if settings.build_id:
        return settings.build_id
    digest = hashlib.sha256()
    for name, path in sorted({**_platform(), **_registered(of)}.items()):
        digest.update(f"{name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    for name, plugin in sorted(of.plugins.items()):
        digest.update(f"{name}\0{plugin.distribution}\n".encode())
    return digest.hexdigest()[:12]


def _platform() -> dict[str, Path]:
    """Interceptors and converters run around workflow code that does not import them."""
    files = {path.relative_to(_WORKERS): path for path in _WORKERS.rglob("*.py")}
    return {name.as_posix(): path for name, path in files.items() if not _NO_CODE_OF_RUNS & {*name.parts}}


def _registered(of: Registry) -> dict[str, Path]:
    """Modules with something registered, and those of the project that they import; name to file."""
    items = [item for queue in of.queues.values() for item in (*queue.workflows, *queue.activities)]
    waiting = {str(item.__module__) for item in items}
    registered = {name.partition(".")[0] for name in waiting}
    seen: set[str] = set()
    found: dict[str, Path] = {}
    while waiting:
        seen.add(name := waiting.pop())
        top = name.partition(".")[0]
        path = _file(name) if top != _WORKERS.name else None  # all of it is in _platform()
        if path and (top in registered or not any(map(path.is_relative_to, _INSTALLED))):
            found[name] = path
            waiting |= set(_imports(name, path)) - seen
    return found


def _file(name: str) -> Path | None:
    """The source of a module, without importing it; None when `name` is no module in Python."""
    path: list[str] | None = None
    origin = None
    for part in accumulate(name.split("."), "{}.{}".format):
        spec = PathFinder.find_spec(part, path)
        if spec is None:
            return None  # an attribute of a module, perhaps
        path, origin = spec.submodule_search_locations or [], spec.origin
    return Path(origin) if origin and origin.endswith(".py") else None


def _imports(name: str, path: Path) -> Iterator[str]:
    """Names that may be modules: what `path` imports, and the packages that it lies in."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    if package:
        yield package
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = resolve_name("." * node.level + (node.module or ""), package)
            yield from (base, *(f"{base}.{alias.name}" for alias in node.names))


def deployment_config(settings: WorkersConf) -> WorkerDeploymentConfig:
    """How a worker calls its build. Versioned only when WORKER_DEPLOYMENT is set.

    Without it the build is still passed, as else the SDK would hash every loaded module when it starts.
    """
    versioned = bool(settings.deployment)
    return WorkerDeploymentConfig(
        version=WorkerDeploymentVersion(settings.deployment, build_id(settings)),
        use_worker_versioning=versioned,
        default_versioning_behavior=VersioningBehavior.PINNED
        if versioned
        else VersioningBehavior.UNSPECIFIED,
    )


def upgrading(settings: WorkersConf, queue: Queue) -> list[str]:
    """The types of the queue's entities, when workers are versioned."""
    return [workflow_name(cls) for cls in queue.entities] if settings.deployment else []


async def make_current(client: Client, settings: WorkersConf, timeout: float = _CURRENT_SECONDS) -> str:
    """New runs, and those that upgrade, go to this build from now on. Returns its name.

    A worker of the build must have polled before; for `timeout` seconds that is waited for. Doing it twice
    changes nothing. Raises NotDeployed when no worker came, TemporalUnavailable.
    """
    version = WorkerDeploymentVersion(settings.deployment, build_id(settings))
    request = SetWorkerDeploymentCurrentVersionRequest(
        namespace=client.namespace,
        deployment_name=version.deployment_name,
        build_id=version.build_id,
        version=version.to_canonical_string(),  # how servers before 1.28 want it
        identity="signalbox/deploy",
        ignore_missing_task_queues=True,  # a queue that this build has no longer keeps its pinned runs
    )
    deadline = time.monotonic() + timeout
    while True:
        try:
            with rpc_errors():
                await client.workflow_service.set_worker_deployment_current_version(request, timeout=_CALL)
        except (NoAnswer, RunNotFound) as error:
            if time.monotonic() > deadline:
                name = version.to_canonical_string()
                raise NotDeployed(f"No worker of {name} has polled: start one first.") from error
            await asyncio.sleep(0.5)
        else:
            return version.to_canonical_string()
