"""What workers run for orders, and which dependencies stand behind a shared breaker."""

from __future__ import annotations

from orders.activities import ALL
from orders.attributes import ORDERS
from orders.conf import conf
from orders.launching import attributes_of, identity_of, memo_of, workflow_id
from orders.messages import QUEUE
from orders.workflows.order import OrderWorkflow
from workers.client.launchable import launchable
from workers.patterns.breaker.plugin import breakers
from workers.registry.registry import registry

launchable(
    id=lambda order: workflow_id(order.order_id),
    attributes=attributes_of,
    memo=memo_of,
    summary=lambda order: f"Order of {order.customer_name}"[:100],
    identity=identity_of,
)(OrderWorkflow)
registry.add(QUEUE, workflows=[OrderWorkflow], activities=ALL, attributes=ORDERS)
for dependency in ("payments", "freight"):
    breakers.register(
        dependency, threshold=conf().breaker_threshold, open_seconds=conf().breaker_open_seconds
    )
