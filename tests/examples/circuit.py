"""A report of the bank, fetched by a workflow with a breaker of its own, and a rate behind a shared one."""

from __future__ import annotations

from datetime import timedelta

from temporalio import activity, workflow
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from workers.client.launch import launch
    from workers.patterns.breaker.names import UNAVAILABLE, guarded
    from workers.patterns.breaker.plugin import breakers
    from workers.patterns.handlers import HoldHandlers
    from workers.patterns.single_operation.messages import CircuitOperation
    from workers.patterns.single_operation.workflow import CircuitBreakerWorkflow
    from workers.registry.queues import PLATFORM
    from workers.registry.registry import registry

AWAY: set[str] = set()


breakers.register(
    "rates",
    threshold=5,
    open_seconds=60,
    failure_rate=0.5,
    minimum_calls=20,
    open_growth=2,
    open_seconds_max=900,
)


@activity.defn(no_thread_cancel_exception=True)
@guarded("rates")
def fetch_rate(currency: str) -> str:
    if "rates" in AWAY:
        raise ApplicationError("The rates do not answer.", type=UNAVAILABLE)
    return "1.08"


@workflow.defn
class QuoteWorkflow(HoldHandlers):
    def __init__(self) -> None:
        super().__init__(held_retry=timedelta(minutes=10))

    @workflow.run
    async def run(self, currency: str) -> str:
        rate = await self.calls.call(fetch_rate, currency, start_to_close_timeout=timedelta(seconds=10))
        return f"1 EUR is {rate} {currency}."


@activity.defn(no_thread_cancel_exception=True)
def fetch_statement(account: str) -> str:
    if "bank" in AWAY:
        raise ApplicationError("The bank is closed.", type=UNAVAILABLE)
    return f"{account}: 42.00 EUR"


registry.add(PLATFORM, activities=[fetch_rate, fetch_statement], workflows=[QuoteWorkflow])


async def order_statement(account: str) -> str:
    operation = CircuitOperation(activity="fetch_statement", input=account, threshold=5, open_seconds=300)
    handle = await launch(CircuitBreakerWorkflow, operation, id=f"statement-{account}")
    return str(await handle.result())
