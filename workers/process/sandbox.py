"""The sandbox of workers, tests and replays alike, which ends a workflow whose input can never be used.

Only in its very first task: an open run whose input a later build refuses stays open, with an alarm, as after
any other change that it does not survive.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from temporalio.bridge.proto.workflow_activation import InitializeWorkflow, WorkflowActivation
from temporalio.bridge.proto.workflow_completion import WorkflowActivationCompletion
from temporalio.common import VersioningBehavior
from temporalio.converter import (
    PayloadConverter,
    StorageDriverStoreContext,
    WithSerializationContext,
    WorkflowSerializationContext,
)
from temporalio.exceptions import ApplicationError
from temporalio.worker import WorkflowInstance, WorkflowInstanceDetails
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions
from temporalio.workflow import Info

from workers.payloads.validation import explained, invalid_input, miscounted, verdict_of

_NO_STORE_CONTEXT = StorageDriverStoreContext(target=None)


def workflow_runner(upgrading: Iterable[str] = ()) -> SandboxedWorkflowRunner:
    """`upgrading`: types whose runs move to a deployment's newest build, see versions.py. Only for versioned
    workers: the server refuses every task of another that says so.

    Workflow files pass our own modules through themselves; Django and what else registers things on import
    must never be loaded a second time, whatever a workflow file forgot.
    """
    restrictions = SandboxRestrictions.default.with_passthrough_modules(
        "django", "asgiref", "cryptography", "httpx", "pydantic"
    )
    return _Runner(restrictions=restrictions, upgrading=frozenset(upgrading))


@dataclass(frozen=True)
class _Runner(SandboxedWorkflowRunner):
    upgrading: frozenset[str] = frozenset()

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        if det.defn.name in self.upgrading:
            definition = replace(det.defn, versioning_behavior=VersioningBehavior.AUTO_UPGRADE)
            det = replace(det, defn=definition)
        return _Instance(super().create_instance(det), det)


class _Instance(WorkflowInstance):
    """Looks at what the sandboxed instance makes of its first task."""

    def __init__(self, inner: WorkflowInstance, details: WorkflowInstanceDetails) -> None:
        self._inner = inner
        self._details: WorkflowInstanceDetails | None = details
        self._behaviour = details.defn.versioning_behavior

    def get_info(self) -> Info:
        return self._inner.get_info()

    def get_thread_id(self) -> int | None:
        return self._inner.get_thread_id()

    def get_serialization_context(self, command_info: Any) -> None:
        """No converter or codec of ours looks at it, and asking the sandbox for each payload would cost more
        than encoding it."""

    def get_external_store_context(self, command_info: Any) -> StorageDriverStoreContext:
        """See above: our storage names what it keeps by its content."""
        return _NO_STORE_CONTEXT

    def activate(self, activation: WorkflowActivation) -> WorkflowActivationCompletion:
        completion = self._activated(activation)
        if self._behaviour and completion.HasField("successful"):
            # The sandbox imports the definition again, and knows only what is written there.
            completion.successful.versioning_behavior = self._behaviour.value
        return completion

    def _activated(self, activation: WorkflowActivation) -> WorkflowActivationCompletion:
        details, self._details = self._details, None
        if details is None or activation.is_replaying:
            return self._inner.activate(activation)
        start = next(
            (j.initialize_workflow for j in activation.jobs if j.HasField("initialize_workflow")), None
        )
        if start is None or not details.defn.name:  # a dynamic workflow takes whatever comes
            return self._inner.activate(activation)
        wrong = miscounted(details.defn.run_fn, len(start.arguments), skip=1)
        if wrong:
            return _ended(details, invalid_input(details.defn.name, wrong))
        completion = self._inner.activate(activation)
        error = _undecodable(details, start) if completion.HasField("failed") else None
        return _ended(details, error) if error else completion


def _undecodable(details: WorkflowInstanceDetails, start: InitializeWorkflow) -> ApplicationError | None:
    """What the types say of the arguments; None when something else made the task fail."""
    types = details.defn.arg_types
    try:
        _converter(details).from_payloads(
            start.arguments, types if types and len(types) == len(start.arguments) else None
        )
    except Exception as error:
        verdict = verdict_of(error)
        return explained(verdict, details.defn.name or "") if verdict else None
    return None


def _converter(details: WorkflowInstanceDetails) -> PayloadConverter:
    converter, info = details.payload_converter_factory(), details.info
    context = WorkflowSerializationContext(namespace=info.namespace, workflow_id=info.workflow_id)
    return converter.with_context(context) if isinstance(converter, WithSerializationContext) else converter


def _ended(details: WorkflowInstanceDetails, error: ApplicationError) -> WorkflowActivationCompletion:
    completion = WorkflowActivationCompletion()
    failure = completion.successful.commands.add().fail_workflow_execution.failure
    details.failure_converter_class().to_failure(error, _converter(details), failure)
    return completion
