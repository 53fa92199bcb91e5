"""What workers run for orders, and which dependencies stand behind a shared breaker."""

from __future__ import annotations

from orders.activities import ALL
from orders.attributes import ORDERS
from orders.conf import conf
from orders.messages import QUEUE
from orders.workflows.order import OrderWorkflow
from workers.registry import registry

registry.add(QUEUE, workflows=[OrderWorkflow], activities=ALL, attributes=ORDERS)
for dependency in ("payments", "freight"):
    registry.breaker(dependency, threshold=conf().breaker_threshold, open_seconds=conf().breaker_open_seconds)
