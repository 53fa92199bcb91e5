"""Conditions: the query clause and the rule on a row say the same, and exactly one holds."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import pytest
from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes

from dashboard import extend
from dashboard.access import Viewer
from dashboard.extend import Pipeline, Stage
from dashboard.live import cached_read
from dashboard.pages.workflows.view import read_list
from dashboard.query import query
from dashboard.query.query import Filter
from tests.dashboard.fake_workers import Scripted
from tests.support import eventually
from workers.client.visibility import Unusable

VERA = Viewer("vera", frozenset({"viewer"}))


@pytest.fixture
def pipeline(monkeypatch):
    """`Scripted` has a pipeline for this test."""
    endings = {"rejected": "rejected", "declined": "rejected", "called_off": "cancelled"}
    made = Pipeline("Scripted", "Scripted", (Stage("a", "A"),), endings=endings)
    monkeypatch.setitem(extend.pipelines, "Scripted", made)


# Name of the expected condition -> how a run comes into it: end, attributes.
CASES: list[tuple[str, str, dict[str, Any]]] = [
    ("running", "wait", {"SagaState": "running", "Stage": "a"}),
    ("running", "wait", {}),
    ("waiting", "wait", {"WaitingFor": ["approval"], "SagaState": "running"}),
    ("waiting", "wait", {"WaitingFor": ["operator"]}),
    ("held", "wait", {"WaitingFor": ["approval", "breaker", "breaker:freight"]}),
    ("held", "wait", {"WaitingFor": ["breaker", "breaker:payments"], "SagaState": "running"}),
    ("stuck", "wait", {"WaitingFor": ["operator"], "SagaState": "stuck"}),
    ("compensating", "wait", {"SagaState": "compensating"}),
    ("compensating", "wait", {"SagaState": "compensating", "WaitingFor": ["breaker", "breaker:payments"]}),
    ("completed", "end", {"SagaState": "completed", "Stage": "delivered"}),
    ("completed", "end", {}),
    ("completed", "end", {"SagaState": "completed", "Stage": "cancelled"}),  # an ending of another type
    ("compensated", "end", {"SagaState": "compensated", "Stage": "cancelled"}),
    ("compensated", "end", {"SagaState": "compensated"}),
    ("rejected", "end", {"SagaState": "compensated", "Stage": "rejected"}),
    ("cancelled", "end", {"SagaState": "compensated", "Stage": "called_off"}),
    ("rejected", "end", {"Stage": "declined"}),
    ("cancelled", "cancel", {"SagaState": "running"}),
    ("failed", "fail", {"Stage": "a"}),
    ("terminated", "terminate", {"WaitingFor": ["approval"]}),
    ("timed_out", "time out", {"SagaState": "stuck"}),
]


async def _start(client, queue: str, workflow_id: str, end: str, attributes: dict[str, Any]) -> None:
    waits = end in ("cancel", "terminate", "time out")
    of, of_list = SearchAttributeKey.for_keyword, SearchAttributeKey.for_keyword_list
    pairs: list[Any] = [
        SearchAttributePair((of_list if isinstance(value, list) else of)(name), value)
        for name, value in attributes.items()
    ]
    handle = await client.start_workflow(
        "Scripted",
        args=["wait" if waits else end, attributes],
        id=workflow_id,
        task_queue=queue,
        run_timeout=timedelta(seconds=1 if end == "time out" else 300),
        search_attributes=TypedSearchAttributes(pairs),
    )
    if end == "cancel":
        await handle.cancel()
    if end == "terminate":
        await handle.terminate()


async def test_clauses_and_rows_agree_and_exclude_each_other(client, queue, worker, pipeline):
    prefix = f"cond-{uuid.uuid4().hex[:8]}"
    expected = {f"{prefix}-{at:02}": name for at, (name, _, _) in enumerate(CASES)}
    assert set(expected.values()) == set(query.CONDITIONS)

    async def derived() -> bool:
        cached_read.forget()
        seen = await read_list(VERA, Filter(prefix=prefix))
        return {row.workflow_id: row.condition for row in seen.value.rows} == expected

    async with worker(queue, workflows=[Scripted]):
        for at, (_, end, attributes) in enumerate(CASES):
            await _start(client, queue, f"{prefix}-{at:02}", end, attributes)
        await eventually(derived, timeout=20)
        for name in query.CONDITIONS:
            seen = await read_list(VERA, Filter(prefix=prefix, condition=name))
            found = sorted(row.workflow_id for row in seen.value.rows)
            assert found == [key for key, value in expected.items() if value == name], name


def test_types_without_a_pipeline_and_unknown_statuses_have_no_condition(pipeline):
    assert query.condition_of("Foreign", 1, {"WaitingFor": ["approval"]}) is None
    assert query.condition_of("Scripted", 8, {}) is None
    assert query.condition_of("Scripted", 6, {}) is None


def test_a_condition_that_cannot_be_asked_for_says_why(pipeline, monkeypatch):
    with pytest.raises(Unusable, match="SagaState, WaitingFor"):
        query.condition_clause("held", {"Stage"})
    with pytest.raises(Unusable, match="no condition"):
        query.condition_clause("sleepy")
    monkeypatch.setattr(extend, "pipelines", {})
    with pytest.raises(Unusable, match="pipeline"):
        query.condition_clause("held")
