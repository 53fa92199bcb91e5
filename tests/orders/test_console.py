"""What orders tell the console about themselves."""

from __future__ import annotations

from dashboard import extend
from orders import messages
from orders.attributes import ORDERS
from orders.console import BREAKERS
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
