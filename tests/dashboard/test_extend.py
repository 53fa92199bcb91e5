"""What apps register with the console."""

from __future__ import annotations

import pytest
from django.http import HttpResponse
from django.urls import include, path

from dashboard import extend
from dashboard.extend import Column, Money, Pipeline, Stage


@pytest.fixture
def empty(monkeypatch):
    """A console that no app has told anything."""
    for name in ("pipelines", "moneys", "columns", "_apis"):
        monkeypatch.setattr(extend, name, {})


def test_what_is_registered_comes_back_and_the_same_key_replaces(empty):
    pipeline = Pipeline("T", "Things", (Stage("a", "First"), Stage("b", "Second")), {"b": "payments"})
    extend.register(pipeline, Money("T", "Amount", "currency"), Column("A", "Old"), Column("B", "Other"))
    extend.register(Column("A", "New"))

    assert extend.pipelines == {"T": pipeline}
    assert extend.moneys["T"].attribute == "Amount"
    assert [column.label for column in extend.columns.values()] == ["New", "Other"]


def test_a_pipeline_names_and_places_its_stages():
    pipeline = Pipeline("T", "Things", (Stage("a", "First"), Stage("b", "Second")))

    assert (pipeline.labels["b"], pipeline.places["b"]) == ("Second", 1)
    assert "gone_wrong" not in pipeline.labels


def test_api_urls_are_served_under_their_prefix(empty):
    own = [path("one", lambda request: HttpResponse("1"), name="one")]
    extend.register_api("things/", include((own, "things")))

    (pattern,) = extend.api_urls()

    assert pattern.resolve("things/one").view_name == "things:one"


def test_the_reference_domain_has_registered_itself():
    assert "OrderWorkflow" in extend.pipelines
