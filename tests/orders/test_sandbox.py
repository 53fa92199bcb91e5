"""The outside world: effects and undos at most once, tombstones, faults, and what it refuses."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from orders.sandbox.ledger import Ledger, balanced
from orders.sandbox.schemas import EffectBody, Fault, Service
from tests.orders.conftest import Sandbox

CHARGE = {"key": "k1", "order_id": "o1", "amount_minor": 1250, "currency": "EUR"}
UNDO = {"key": "k1", "undo_key": "k1/undo/1", "order_id": "o1", "reason": "test"}


def test_the_same_key_has_one_effect_and_one_answer(sandbox: Sandbox):
    first = sandbox.http.post("/payments/effects", json=CHARGE)
    again = sandbox.http.post("/payments/effects", json=CHARGE)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    assert sandbox.ledger("o1")["sums"][0]["charged"] == 1250


def test_the_same_key_with_another_body_is_refused(sandbox: Sandbox):
    sandbox.http.post("/payments/effects", json=CHARGE)
    other = sandbox.http.post("/payments/effects", json={**CHARGE, "amount_minor": 9})
    assert (other.status_code, other.json()["error"]) == (409, "key_reused")


def test_an_undo_happens_once_and_its_tombstone_refuses_the_effect(sandbox: Sandbox):
    sandbox.http.post("/payments/effects", json=CHARGE)
    first = sandbox.http.post("/payments/undo", json=UNDO)
    again = sandbox.http.post("/payments/undo", json=UNDO)
    other = sandbox.http.post("/payments/undo", json={**UNDO, "undo_key": "k1/undo/2"})
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    assert other.json()["detail"] == "already undone"
    assert sandbox.http.post("/payments/effects", json=CHARGE).status_code == 410
    ledger = sandbox.ledger("o1")
    assert [row["undid"] for row in ledger["undos"]].count(1) == 1
    assert ledger["sums"] == [
        {"currency": "EUR", "charged": 1250, "refunded": 1250, "standing": 0, "charges": 1}
    ]


def test_an_undo_that_comes_first_keeps_the_late_effect_out(sandbox: Sandbox):
    answer = sandbox.http.post("/stock/undo", json=UNDO)
    assert answer.json() == {"reference": "", "detail": "nothing to undo"}
    late = sandbox.http.post("/stock/effects", json={"key": "k1", "order_id": "o1"})
    assert (late.status_code, late.json()["error"]) == (410, "withdrawn")
    assert sandbox.ledger("o1")["orders"]["o1"] == {"standing": {"stock": 0}, "balanced": True}


def test_simultaneous_calls_with_one_key_have_one_effect(tmp_path: Path):
    ledger, body = Ledger(tmp_path / "l.sqlite3"), EffectBody.model_validate(CHARGE)
    start = threading.Barrier(8)

    def charge(_: int) -> bool:
        start.wait()
        return ledger.effect(Service.PAYMENTS, body).created

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(charge, range(8))).count(True) == 1


def test_the_ledger_outlives_the_process(tmp_path: Path):
    Ledger(tmp_path / "l.sqlite3").effect(Service.PAYMENTS, EffectBody.model_validate(CHARGE))
    assert Ledger(tmp_path / "l.sqlite3").standing() == {"o1": {"payments": 1}}


@pytest.mark.parametrize(
    ("service", "change", "status", "code"),
    [
        ("payments", {"customer_id": "declined-7"}, 402, "declined"),
        ("stock", {"items": [{"sku": "SKU-NONE", "quantity": 1}]}, 409, "out_of_stock"),
        ("carrier", {"customer_id": "nowhere-1"}, 409, "unshippable"),
        ("freight", {"customer_id": "nowhere-1"}, 409, "unshippable"),
    ],
)
def test_business_refusals_leave_no_effect(
    sandbox: Sandbox, service: str, change: Any, status: int, code: str
):
    answer = sandbox.http.post(f"/{service}/effects", json={"key": "k", "order_id": "o1", **change})
    assert (answer.status_code, answer.json()["error"]) == (status, code)
    assert sandbox.ledger("o1")["effects"] == []


@pytest.mark.parametrize(("mode", "status"), [("outage", 503), ("errors", 500)])
def test_a_broken_service_does_nothing_until_it_is_healed(sandbox: Sandbox, mode: str, status: int):
    sandbox.fault("payments", mode)
    assert sandbox.http.post("/payments/effects", json=CHARGE).status_code == status
    assert sandbox.http.post("/stock/effects", json={"key": "k", "order_id": "o1"}).status_code == 201
    sandbox.fault("payments")
    assert sandbox.http.post("/payments/effects", json=CHARGE).status_code == 201


def test_accept_then_timeout_does_the_effect_and_withholds_the_answer(sandbox: Sandbox):
    sandbox.fault("payments", "accept_then_timeout")
    with pytest.raises(httpx.ReadTimeout):
        sandbox.http.post("/payments/effects", json=CHARGE, timeout=0.3)
    assert sandbox.ledger("o1")["orders"]["o1"]["standing"] == {"payments": 1}
    assert sandbox.http.post("/payments/undo", json=UNDO).json()["detail"].startswith("undid CH-")


def test_refused_undo_and_prefix(sandbox: Sandbox):
    sandbox.fault("payments", "refuse_undo", order_prefix="o1")
    sandbox.http.post("/payments/effects", json=CHARGE).raise_for_status()
    refused = sandbox.http.post("/payments/undo", json=UNDO)
    assert (refused.status_code, refused.json()["error"]) == (409, "undo_refused")
    assert sandbox.http.post("/payments/undo", json={**UNDO, "order_id": "x", "key": "x"}).status_code == 201


def test_the_rate_decides_how_many_calls_a_fault_strikes():
    fault = Fault.model_validate({"mode": "errors", "rate": 0.25})
    assert [fault.strikes("o", chance / 4) for chance in range(4)] == [True, False, False, False]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({**CHARGE, "amount_minor": -1}, "amount_minor"),
        ({**CHARGE, "key": ""}, "key"),
        ({**CHARGE, "key": "a b"}, "key"),
        ({**CHARGE, "currency": "euro"}, "currency"),
        ({**CHARGE, "items": [{"sku": "A", "quantity": 0}]}, "items.0.quantity"),
        ({**CHARGE, "items": [{"sku": "A", "quantity": 1}] * 501}, "items"),
        ({**CHARGE, "more": 1}, "more"),
        ([], "body"),
    ],
)
def test_bad_bodies_are_422_and_name_the_field(sandbox: Sandbox, body: Any, field: str):
    answer = sandbox.http.post("/payments/effects", json=body)
    assert answer.status_code == 422
    assert field in answer.json()["fields"]


def test_hostile_requests_are_refused(sandbox: Sandbox):
    post, form = sandbox.http.post, {"Content-Type": "application/x-www-form-urlencoded"}
    assert (
        post("/payments/effects", content=b"{", headers={"Content-Type": "application/json"}).status_code
        == 422
    )
    assert post("/payments/effects", content=b"{}", headers={"Content-Type": "text/plain"}).status_code == 415
    assert post("/payments/effects", json={**CHARGE, "note": "x" * 300_000}).status_code == 413
    assert post("/bank/effects", json=CHARGE).status_code == 404
    assert sandbox.http.get("/", headers={"Host": "evil.example"}).status_code == 400
    for hostile in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        assert post("/faults/stock", content=b"mode=outage", headers={**form, **hostile}).status_code == 403
    assert sandbox.http.get("/faults").json()["stock"]["mode"] == "none"


def test_the_page_breaks_and_heals_by_plain_forms(sandbox: Sandbox):
    sandbox.http.post("/payments/effects", json={**CHARGE, "order_id": "<script>o</script>"})
    fields = {"mode": "latency", "latency_ms": "40", "rate": "0.5", "order_prefix": ""}
    assert sandbox.http.post("/faults/stock", data=fields).status_code == 303
    page = sandbox.http.get("/")
    assert "12.50 EUR" in page.text
    assert 'value="latency" selected' in page.text
    assert "<script" not in page.text
    assert "style=" not in page.text
    assert page.headers["Content-Security-Policy"].startswith("default-src 'self'")
    assert sandbox.http.get("/sandbox.css").headers["content-type"].startswith("text/css")
    assert sandbox.http.get("/faults").json()["stock"]["latency_ms"] == 40


@pytest.mark.parametrize(
    ("standing", "even"),
    [
        ({}, True),
        ({"stock": 1, "payments": 1, "carrier": 1}, True),
        ({"stock": 1, "payments": 1, "freight": 1}, True),
        ({"stock": 1, "payments": 1, "carrier": 1, "freight": 1}, False),
        ({"stock": 1, "payments": 1}, False),
        ({"stock": 1, "payments": 2, "carrier": 1}, False),
        ({"stock": 0, "payments": 0, "carrier": 0}, True),
    ],
)
def test_what_counts_as_balanced(standing: dict[str, int], even: bool):
    assert balanced(standing) is even
