"""Before workers run: which queues are meant; and `runworker --check`: would workers run here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from temporalio import workflow

from workers import attributes
from workers.conf import conf
from workers.connection import process_name
from workers.patterns.breaker import QUEUE as BREAKER_QUEUE
from workers.registry import Queue, registry, workflow_name
from workers.runner import workflow_runner
from workers.runtime import Exit, Stop, connected, settled


def choose(names: Sequence[str]) -> list[Queue]:
    """The registered queues called `names`, or all; with the breakers' queue when there are breakers."""
    unknown = sorted(set(names) - registry.queues.keys())
    if unknown:
        known = ", ".join(sorted(registry.queues)) or "none"
        raise Stop(Exit.USAGE, f"No such queue: {', '.join(unknown)}. Registered queues: {known}.")
    wanted = set(names or registry.queues)
    if registry.breakers:
        wanted.add(BREAKER_QUEUE)
    if not wanted:
        raise Stop(Exit.USAGE, "No app has registered a queue.")
    return [registry.queues[name] for name in sorted(wanted)]


def load_in_sandbox(workflows: Iterable[type]) -> int:
    """Import each workflow in the sandbox as a worker would; returns how many. Stop names a bad one."""
    runner, loaded = workflow_runner(), 0
    for cls in workflows:
        try:
            runner.prepare_workflow(workflow._Definition.must_from_class(cls))
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            raise Stop(Exit.WORKFLOW, f"Workflow {workflow_name(cls)} does not load: {reason}") from error
        loaded += 1
    return loaded


async def check(queues: Sequence[Queue]) -> str:
    """Could a worker run here? Changes nothing. Returns what was found; raises Stop with the reason."""
    settings, keys = conf(), [*attributes.PLATFORM, *registry.attributes]
    loaded = load_in_sandbox(cls for queue in queues for cls in queue.workflows)
    client = await connected(settings, process_name("check"))
    missing = await settled(attributes.compare(client, keys), settings)
    if missing:
        raise Stop(
            Exit.ATTRIBUTES, f"Search attributes are missing: {', '.join(missing)}. A worker registers them."
        )
    return f"{loaded} workflows on {len(queues)} queues load, {len(keys)} search attributes are as declared."
