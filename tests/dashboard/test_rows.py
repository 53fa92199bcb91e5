"""Rows: what the server sends, lenient_signal of whatever it is."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime

import pytest
from django.urls import reverse
from temporalio.api.common.v1 import Payload
from temporalio.api.workflow.v1 import WorkflowExecutionInfo

from dashboard import extend
from dashboard.access import Subject
from dashboard.extend import Column, Money, Pipeline, Stage
from dashboard.temporal_api.answers import RunAnswers
from dashboard.temporal_api.budget import Budget
from dashboard.temporal_api.history import History
from dashboard.temporal_api.rows import attributes_of, memo_texts, read_rows, run_url, shorten
from dashboard.temporal_api.run import RunPage


def payload(value: object, kind: str = "Keyword") -> Payload:
    return Payload(
        metadata={"encoding": b"json/plain", "type": kind.encode()}, data=json.dumps(value).encode()
    )


def info(**more) -> WorkflowExecutionInfo:
    made = WorkflowExecutionInfo(status=more.pop("status", 1))
    made.execution.workflow_id = "order-1"
    made.execution.run_id = "run-1"
    made.type.name = "T"
    for name, value in more.pop("attributes", {}).items():
        made.search_attributes.indexed_fields[name].CopyFrom(value)
    for name, value in more.pop("memo", {}).items():
        made.memo.fields[name].CopyFrom(value)
    return made


@pytest.fixture
def line(monkeypatch):
    monkeypatch.setitem(extend.pipelines, "T", Pipeline("T", "Things", (Stage("a", "A"),)))
    monkeypatch.setitem(extend.moneys, "T", Money("T", "Amount", "currency"))


async def test_attributes_are_decoded_by_their_type(client, line):
    fields = {
        "Stage": payload("charging"),
        "WaitingFor": payload(["breaker", "breaker:payments"], "KeywordList"),
        "Amount": payload(12.34, "Double"),
        "Deadline": payload("2026-11-21T03:14:07Z", "Datetime"),
        "Tags": payload(["a", "b"], "KeywordList"),
        "Unset": payload(None),
        "Broken": Payload(metadata={"type": b"Int"}, data=b"{"),
    }
    (row,) = await read_rows(client, [info(attributes=fields, memo={"currency": payload("EUR")})])

    assert (row.stage, row.waiting_for, row.condition, row.word) == (
        "charging",
        ("breaker", "breaker:payments"),
        "held",
        "Held",
    )
    assert row.deadline == datetime(2026, 11, 21, 3, 14, 7, tzinfo=UTC)
    assert (row.amount.minor, row.amount.currency) == (1234, "EUR")
    assert row.attributes["Tags"] == ["a", "b"]
    assert "Unset" not in row.attributes
    assert "Broken" not in row.attributes


async def test_amounts_follow_the_decimals_of_their_currency(client, line):
    def one(currency: str) -> WorkflowExecutionInfo:
        return info(attributes={"Amount": payload(1.5, "Double")}, memo={"currency": payload(currency)})

    rows = await read_rows(client, [one("EUR"), one("JPY"), one("KWD")])

    assert [row.amount.minor for row in rows] == [150, 2, 1500]


async def test_what_stands_beside_the_id_is_what_an_app_registered(client, line, monkeypatch):
    memo = {"customer_name": payload("Aster"), "cargo": payload("salt")}
    (bare,) = await read_rows(client, [info(memo=memo)])
    monkeypatch.setattr(
        extend,
        "columns",
        {
            ("Other", "customer_name"): Column(
                "customer_name", "Customer", "memo", workflow_type="Other", beside_id=True
            ),
            ("T", "cargo"): Column("cargo", "Cargo", "memo", workflow_type="T", beside_id=True),
        },
    )
    (row,) = await read_rows(client, [info(memo=memo)])

    assert bare.beside_id == ("", "")
    assert row.beside_id == ("Cargo", "salt")


async def test_a_paused_run_and_a_status_of_a_newer_server_are_shown_by_word_or_number(client, line):
    paused, unknown = await read_rows(client, [info(status=8), info(status=9)])

    assert (paused.status_name, paused.word, paused.condition, paused.open) == (
        "Paused",
        "Paused",
        None,
        True,
    )
    assert (unknown.status, unknown.status_name, unknown.word) == (9, "Status 9", "Status 9")


async def test_a_memo_that_cannot_be_decoded_is_marked_and_the_rest_stays(client):
    memo = {
        "good": payload("yes"),
        "secret": Payload(metadata={"encoding": b"binary/encrypted"}, data=b"12345"),
        "torn": Payload(metadata={"encoding": b"json/plain"}, data=b"{"),
        "bare": Payload(data=b"x"),
    }
    assert dict(await memo_texts(client, info(memo=memo), Budget())) == {
        "good": '"yes"',
        "secret": "unreadable: binary/encrypted, 5 bytes",
        "torn": "unreadable: json/plain, 1 bytes",
        "bare": "unreadable: no encoding, 1 bytes",
    }


@pytest.mark.parametrize(
    "workflow_id", ["order-1", "a/b", "a%2Fb", "🚂 & co?x=1#y", "..", "it's;v=1,(2)", "~x@y:z"]
)
def test_the_address_of_a_run_is_the_one_that_django_makes(workflow_id):
    assert run_url(reverse("workflows", args=["default"]), workflow_id, "run-1") == reverse(
        "run", args=["default", workflow_id, "run-1"]
    )


def test_a_value_is_cut_to_what_a_page_can_hold():
    (text,) = shorten(["x" * 10_000], 100)
    assert text.startswith('"xxx')
    assert text.endswith("more characters")
    assert len(text) < 150


def test_attributes_of_nothing():
    assert attributes_of({}) == {}


async def test_a_hundred_rows_take_milliseconds(client, line):
    fields = {name: payload("value") for name in ("Stage", "SagaState", "CustomerId", "Strategy", "TenantId")}
    infos = [info(attributes=fields, memo={"customer_name": payload("A"), "currency": payload("EUR")})] * 100
    best = 1.0
    for _ in range(5):
        start = time.perf_counter()
        await read_rows(client, infos)
        best = min(best, time.perf_counter() - start)
    assert best < 0.05


async def test_a_paused_run_is_open(client, line):
    (row,) = await read_rows(client, [info(status=8)])
    subject = Subject("default", "order-1", "run-1", None)
    counts = {"events": 0, "size": 0, "cancel_requested": False, "task_attempt": 0, "more_pending": 0}
    texts = {"memo": [], "queue": "q", "parent": "", "first_run_id": ""}
    parts = {"answers": RunAnswers(), "pending": [], "history": History()}
    run = RunPage(row=row, subject=subject, **texts, **parts, **counts)
    assert run.open
