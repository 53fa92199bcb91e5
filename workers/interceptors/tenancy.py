"""The tenant of a run: it travels with the environment in headers, from `launch` to every task of the run.

Children, activities, other workflows that it signals and its next run inherit no headers by themselves: the
outbound interceptor copies them, and gives children the attributes too. In an activity `current_tenant()`
tells the tenant. Whatever names the tenant of a run (header, TenantId attribute, `<tenant>~` in the id) must
agree, before any code of the run works on it. Runs that others started name none, and are let through.

A worker with a list of tenants leaves the work of others to other workers: it fails the first workflow task
of a run, which the server then offers again, and refuses activities so that no attempt is used up.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, NoReturn

from temporalio import activity, workflow
from temporalio.common import SearchAttributePair, TypedSearchAttributes
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory, TemporalError
from temporalio.worker import (
    ActivityInboundInterceptor,
    ContinueAsNewInput,
    ExecuteActivityInput,
    ExecuteWorkflowInput,
    HandleSignalInput,
    Interceptor,
    SignalChildWorkflowInput,
    SignalExternalWorkflowInput,
    StartActivityInput,
    StartChildWorkflowInput,
    StartLocalActivityInput,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
    WorkflowOutboundInterceptor,
)

from workers import counters
from workers.client.attributes import ENVIRONMENT_ID, TENANT_ID
from workers.client.tenancy import (
    ENVIRONMENT_HEADER,
    RUN_HEADERS,
    TENANT_HEADER,
    Headers,
    encoded,
    header_text,
    tenant_context,
)
from workers.client.tenants import (
    OTHER_TENANT,
    PLATFORM_TENANT,
    group_queue,
    not_served,
    prefix_of,
    refused,
    tenant_conflict,
    tenant_of,
)
from workers.conf import conf
from workers.registry.registry import registry

_RETRY = timedelta(seconds=2)


class OtherTenant(TemporalError):
    """Fails a workflow task, and not the run: the server offers the task to workers again."""


class TenancyInterceptor(Interceptor):
    """The worker's side. `tenants`: those that this process works for; empty: all."""

    def __init__(self, tenants: tuple[str, ...] = ()) -> None:
        self._tenants = frozenset(tenants)

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        return _Activity(next, self._tenants)

    def workflow_interceptor_class(
        self, input: WorkflowInterceptorClassInput
    ) -> type[WorkflowInboundInterceptor]:
        tenants = self._tenants

        class Inbound(_Inbound):
            allowed = tenants

        return Inbound


class _Activity(ActivityInboundInterceptor):
    def __init__(self, next: ActivityInboundInterceptor, tenants: frozenset[str]) -> None:
        super().__init__(next)
        self._tenants = tenants

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        headers, workflow_id = input.headers, activity.info().workflow_id or ""
        tenant = header_text(headers, TENANT_HEADER)
        if problem := tenant_conflict(tenant, None, workflow_id):
            counters.count("tenant_refusals", kind="activity")
            raise refused(problem)
        problem = not_served(tenant or prefix_of(workflow_id), self._tenants)
        if problem and not activity.info().is_local:  # a local one runs where its workflow task does
            # Not retried by the server, as that uses up attempts: our workflows schedule it again
            # (undelivered.py). Those without our header are not ours.
            raise ApplicationError(
                problem,
                type=OTHER_TENANT,
                non_retryable=tenant is not None,
                next_retry_delay=_RETRY,
                category=ApplicationErrorCategory.BENIGN,
            )
        # The SDK copies the context into the thread of a synchronous activity.
        with tenant_context(tenant, header_text(headers, ENVIRONMENT_HEADER)):
            return await super().execute_activity(input)


class _Run:
    """What the headers of a run say, read once."""

    def __init__(self) -> None:
        info = workflow.info()
        attributes = info.typed_search_attributes
        self.id = info.workflow_id
        self.header = header_text(info.headers, TENANT_HEADER)
        self.attribute = attributes.get(TENANT_ID)
        self.tenant = tenant_of(self.header, self.attribute, self.id)
        self.environment = header_text(info.headers, ENVIRONMENT_HEADER) or attributes.get(ENVIRONMENT_ID)
        self.headers = encoded({TENANT_HEADER: self.tenant, ENVIRONMENT_HEADER: self.environment})
        self.attributes = {
            key: value
            for key, value in ((TENANT_ID, self.attribute), (ENVIRONMENT_ID, attributes.get(ENVIRONMENT_ID)))
            if value is not None
        }
        self.suffixed = group_queue("", self.tenant, conf().tenant_queues)
        self.grouped = bool(self.suffixed) and info.task_queue.endswith(self.suffixed)
        self.own = {name: value for name, value in info.headers.items() if name.startswith(RUN_HEADERS)}

    def queue(self, name: str) -> str:
        """The queue of the tenant's group, for a run that is on one itself and names a registered queue."""
        return f"{name}{self.suffixed}" if self.grouped and name in registry.queues else name

    def for_child(self, given: Any) -> Any:
        """A child's attributes with tenant and environment, where the run itself has them, as then the
        namespace knows them."""
        if not self.attributes or not isinstance(given, TypedSearchAttributes | None):
            return given
        given = given or TypedSearchAttributes.empty
        pairs = [SearchAttributePair(key, value) for key, value in self.attributes.items()]
        return given.updated(*(pair for pair in pairs if given.get(pair.key) is None))


class _Inbound(WorkflowInboundInterceptor):
    allowed: frozenset[str] = frozenset()
    _known: _Run | None = None

    def init(self, outbound: WorkflowOutboundInterceptor) -> None:
        super().init(_Outbound(outbound, self.run))

    def run(self) -> _Run:
        if self._known is None:
            self._known = _Run()
        return self._known

    async def execute_workflow(self, input: ExecuteWorkflowInput) -> Any:
        run = self.run()
        if problem := tenant_conflict(run.header, run.attribute, run.id):
            counters.count("tenant_refusals", kind="workflow")
            raise refused(problem)
        # A run that another worker has begun goes on everywhere: its code may be replayed for a query, and
        # its activities are checked by themselves.
        problem = not_served(run.tenant, self.allowed)
        if problem and not workflow.unsafe.is_replaying():
            raise OtherTenant(problem)
        return await super().execute_workflow(input)

    async def handle_signal(self, input: HandleSignalInput) -> None:
        """Only other workflows send a header. The platform's own runs serve all tenants."""
        theirs, ours = header_text(input.headers, TENANT_HEADER), self.run().tenant
        if theirs and ours and theirs != ours and PLATFORM_TENANT not in (theirs, ours):
            counters.count("tenant_refusals", kind="signal")
            workflow.logger.warning("Refused the signal %s: it comes from tenant %s.", input.signal, theirs)
            return
        await super().handle_signal(input)


class _Outbound(WorkflowOutboundInterceptor):
    def __init__(self, next: WorkflowOutboundInterceptor, run: Any) -> None:
        super().__init__(next)
        self._run = run

    def _inherited(self, headers: Headers) -> Headers:
        return {**headers, **self._run().headers}

    def start_activity(self, input: StartActivityInput) -> workflow.ActivityHandle[Any]:
        input.headers = self._inherited(input.headers)
        input.task_queue = self._run().queue(input.task_queue) if input.task_queue else None
        return super().start_activity(input)

    def start_local_activity(self, input: StartLocalActivityInput) -> workflow.ActivityHandle[Any]:
        input.headers = self._inherited(input.headers)
        return super().start_local_activity(input)

    async def start_child_workflow(
        self, input: StartChildWorkflowInput
    ) -> workflow.ChildWorkflowHandle[Any, Any]:
        input.headers = self._inherited(input.headers)
        input.task_queue = self._run().queue(input.task_queue) if input.task_queue else None
        input.search_attributes = self._run().for_child(input.search_attributes)
        return await super().start_child_workflow(input)

    async def signal_child_workflow(self, input: SignalChildWorkflowInput) -> None:
        input.headers = self._inherited(input.headers)
        await super().signal_child_workflow(input)

    async def signal_external_workflow(self, input: SignalExternalWorkflowInput) -> None:
        input.headers = self._inherited(input.headers)
        await super().signal_external_workflow(input)

    def continue_as_new(self, input: ContinueAsNewInput) -> NoReturn:
        input.headers = {**self._inherited(input.headers), **self._run().own}
        super().continue_as_new(input)
