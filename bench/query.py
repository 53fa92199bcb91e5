"""How much CPU it takes to parse query text, write it out again and put the scope around it."""

from __future__ import annotations

import time
from statistics import median

from bench.results import Row, at_most

ROUNDS, TIMES = 20, 50
TEXT = " AND ".join(
    f"(Stage IN ('charging', 'shipping', 'it''s {at}') OR OrderAmount BETWEEN {at} AND 12480.50 "
    f"OR NOT (CustomerId STARTS_WITH 'customer-{at}' AND SagaState IS NOT NULL))"
    for at in range(3)
)
"""Twelve conditions in about 450 characters."""


def measure() -> list[Row]:
    """From what was typed to what the server gets."""
    from dashboard.access import Scope
    from dashboard.query.grammar import rebuild
    from dashboard.query.query import with_scope

    scope, rounds = Scope("default", ("acme",)), list[float]()
    for _ in range(ROUNDS):
        began = time.process_time()
        for _ in range(TIMES):
            with_scope(scope, rebuild(TEXT))
        rounds.append(1000 * (time.process_time() - began) / TIMES)
    return [
        at_most("query text of 12 conditions, parsed, written out and scoped", median(rounds), "ms of CPU", 1)
    ]
