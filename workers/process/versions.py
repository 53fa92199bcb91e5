"""Worker deployments: which build of the code a worker runs, and which runs may move to a newer one.

Short workflows are pinned: they end on the build that they began on, so a deploy cannot break their replay.
Entities, which live for months and continue as new, move on to the current build; their changes go behind
`workflow.patched`. Which are entities is said on registration, not in the definition: the server refuses
every task of an unversioned worker that tells a behaviour, and workers are unversioned unless
WORKER_DEPLOYMENT is set.
"""

from __future__ import annotations

import asyncio
import hashlib
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from temporalio.api.workflowservice.v1 import SetWorkerDeploymentCurrentVersionRequest
from temporalio.client import Client
from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
from temporalio.worker import WorkerDeploymentConfig

from workers.client.errors import NoAnswer, RunNotFound, TemporalError, rpc_errors
from workers.conf import WorkersConf
from workers.registry.registry import Queue, Registry, registry, workflow_name

_NO_CODE_OF_RUNS = {"migrations", "tests"}
_CALL = timedelta(seconds=30)  # the server runs a workflow of its own for it
_CURRENT_SECONDS = 30.0  # a worker that has just started is known to the server a moment later


class NotDeployed(TemporalError):
    """The server knows no worker of this build."""


def build_id(settings: WorkersConf, of: Registry = registry) -> str:
    """WORKER_BUILD_ID, or twelve hex digits over all that runs of workflows and activities may come from.

    That is the source of every package which has one registered, whole, as a workflow's behaviour lies as
    much in what it imports; and the versions of the packages that plugins were installed from. The same
    code gives the same id on every machine.
    """
    if settings.build_id:
        return settings.build_id
    digest = hashlib.sha256()
    for name, content in sorted(_sources(of)):
        digest.update(f"{name}\0{hashlib.sha256(content).hexdigest()}\n".encode())
    for name, plugin in sorted(of.plugins.items()):
        digest.update(f"{name}\0{plugin.distribution}\n".encode())
    return digest.hexdigest()[:12]


def _sources(of: Registry) -> Iterator[tuple[str, bytes]]:
    items = [item for queue in of.queues.values() for item in (*queue.workflows, *queue.activities)]
    for top in {str(item.__module__).partition(".")[0] for item in items}:
        module = sys.modules.get(top)
        if module is None:
            continue
        for folder in map(Path, getattr(module, "__path__", ())):
            for path in folder.rglob("*.py"):
                if not _NO_CODE_OF_RUNS & {*path.relative_to(folder).parts}:
                    yield f"{top}/{path.relative_to(folder).as_posix()}", path.read_bytes()
        if not hasattr(module, "__path__") and module.__file__:
            yield top, Path(module.__file__).read_bytes()


def deployment_config(settings: WorkersConf) -> WorkerDeploymentConfig:
    """How a worker calls its build. Versioned only when WORKER_DEPLOYMENT is set.

    Without it the build is still told, as else the SDK would hash every loaded module when it starts.
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


async def make_current(client: Client, settings: WorkersConf, patience: float = _CURRENT_SECONDS) -> str:
    """New runs, and those that upgrade, go to this build from now on. Returns its name.

    A worker of the build must have polled before; for `patience` seconds that is waited for. Doing it twice
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
    deadline = time.monotonic() + patience
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
