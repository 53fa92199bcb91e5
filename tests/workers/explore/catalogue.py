"""The scenarios of all shipped workflows, for long explorations."""

from __future__ import annotations

from tests.workers.explore.test_approval import APPROVALS
from tests.workers.explore.test_breaker import BREAKERS
from tests.workers.explore.test_dynamic import DYNAMIC
from tests.workers.explore.test_entity import ENTITIES
from tests.workers.explore.test_event_driven import EVENTS
from tests.workers.explore.test_long_running import LONG
from tests.workers.explore.test_order import EVERYTHING as ORDERS
from tests.workers.explore.test_saga import EVERYTHING as SAGAS
from tests.workers.explore.test_single_operation import OPERATIONS
from workers.testing.explore import Scenario

SCENARIOS: list[Scenario] = [
    *SAGAS,
    *ORDERS,
    APPROVALS,
    BREAKERS,
    OPERATIONS,
    ENTITIES,
    EVENTS,
    LONG,
    DYNAMIC,
]
