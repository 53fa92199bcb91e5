"""What workers run for the platform: the ready-made patterns."""

from __future__ import annotations

from workers.patterns.alerts.plugin import plugin as alerts
from workers.patterns.approval.plugin import plugin as approval
from workers.patterns.batches.plugin import plugin as batches
from workers.patterns.breaker.plugin import breakers
from workers.patterns.dynamic.plugin import plugin as dynamic
from workers.patterns.events.plugin import plugin as events
from workers.patterns.handlers import handler_problems
from workers.patterns.http.plugin import plugin as http
from workers.patterns.saga.plugin import plugin as saga
from workers.patterns.single_operation.plugin import plugin as single_operation
from workers.patterns.transactions.plugin import plugin as transactions
from workers.registry.definitions import WORKFLOW_CHECKS
from workers.registry.registry import registry

WORKFLOW_CHECKS.append(handler_problems)

registry.install(
    alerts, approval, batches, breakers, dynamic, events, http, saga, single_operation, transactions
)
