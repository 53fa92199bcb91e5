"""What orders tell the console about themselves."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.template.loader import render_to_string

from dashboard import extend
from dashboard.panels import approval
from orders import messages
from orders.attributes import ORDERS
from orders.console import BREAKERS
from orders.messages import Stage
from orders.workflows.words import next_sentence
from workers.contracts import ApprovalStatus, SagaState
from workers.patterns.breaker.plugin import breakers
from workers.registry.registry import registry


def test_the_line_has_the_stages_of_the_workflow_in_order():
    extend.discover()
    pipeline = extend.pipelines[messages.WORKFLOW_TYPE]
    forward = list(messages.Stage)[: list(messages.Stage).index(messages.Stage.DELIVERED) + 1]
    assert [stage.name for stage in pipeline.stages] == [stage.value for stage in forward]


def test_each_guard_is_a_breaker_that_workers_run():
    registry.load()
    assert set(BREAKERS.values()) <= set(breakers.configs)


def test_columns_and_money_name_attributes_that_are_registered():
    extend.discover()
    names = {key.name for key in ORDERS}
    assert extend.moneys[messages.WORKFLOW_TYPE].attribute in names
    assert {column.key for column in extend.columns.values() if column.source == "attribute"} <= names


@pytest.mark.parametrize(("on_timeout", "word"), [("approve", "approved"), ("reject", "rejected")])
def test_headline_and_panel_say_the_same_of_the_deadline(on_timeout, word):
    status = ApprovalStatus(deadline=datetime.now(UTC) + timedelta(hours=1), on_timeout=on_timeout, missing=1)
    headline = next_sentence(Stage.APPROVAL, SagaState.RUNNING, [], status)
    view = {"model": approval.draw(status, None)}
    panel = render_to_string("dashboard/panels/_approval_rule.html", view)
    assert f"without a decision it will be {word}." in headline
    assert f"Without a decision it is {word} at" in panel
