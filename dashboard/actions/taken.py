"""Whether a workflow is known to take a signal, so that none is sent that it would keep and never handle."""

from __future__ import annotations

from temporalio import workflow
from temporalio.client import Client

from dashboard import registrations
from dashboard.access import Subject, Verb, Viewer, may
from dashboard.actions.offers import offer
from dashboard.errors import NotTaken
from dashboard.extend import Action, Target
from dashboard.temporal_api.decisions import ChainRun, newest_of_chain, signals_of
from workers.registry.definitions import workflow_name
from workers.registry.registry import registry


def registered_signals(workflow_type: str) -> frozenset[str]:
    """Names of the signals of a workflow type that is registered here; none for any other. An empty name
    stands for any signal."""
    registrations.load()
    for queue in registry.queues.values():
        for cls in queue.workflows:
            if workflow_name(cls) == workflow_type:
                return frozenset(name or "" for name in workflow._Definition.must_from_class(cls).signals)
    return frozenset()


async def check_taken(
    client: Client, viewer: Viewer, action: Action, run: ChainRun, subject: Subject
) -> None:
    """Pass where the workflow takes the signal of an action: by the registry, by what it declares itself, or,
    where that is not known, because the action is offered by what the run's own attributes say.

    Raises NotTaken otherwise, but for viewers who may send any signal.
    """
    if not action.signal or {action.signal, ""} & registered_signals(run.workflow_type):
        return
    if run.ended and (run := await newest_of_chain(client, run)).ended:
        return  # nothing can be sent to it
    declared = await signals_of(client, run)
    if declared is not None:
        taken = bool({action.signal, ""} & declared)
    else:
        target = Target(viewer, subject, run.workflow_type, attributes=run.attributes)
        taken = offer(target, action) is not None
    if not taken and (missing := may(viewer, Verb.SIGNAL_ANY, subject)):
        raise NotTaken(run.workflow_type, action.signal, known=declared is not None, missing=missing)
