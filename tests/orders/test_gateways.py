"""What answers of the outside mean for a workflow: refused for good, or worth another try."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from orders.gateways import services
from orders.messages import UndoInput
from tests.orders.conftest import Sandbox
from tests.orders.samples import step
from workers.patterns.breaker.names import UNAVAILABLE


def undo_of(key: str, order_id: str = "o1") -> UndoInput:
    return UndoInput(order_id=order_id, idempotency_key=key, undo_key=f"{key}/undo/1", reason="test")


def failure(call: Any, *args: Any) -> ApplicationError:
    with pytest.raises(ApplicationError) as caught:
        call(*args)
    return caught.value


def test_a_charge_is_made_once_with_the_amount_of_the_order(sandbox: Sandbox):
    charge = step()
    assert services.charge(charge) == services.charge(charge)
    (row,) = sandbox.ledger(charge.order_id)["effects"]
    assert (row["amount_minor"], row["currency"], row["key"]) == (9800, "EUR", charge.idempotency_key)


def test_an_undone_charge_cannot_be_made_any_more(sandbox: Sandbox):
    charge = step()
    services.charge(charge)
    undone = services.undo("payments", undo_of(charge.idempotency_key, charge.order_id))
    assert undone.detail.startswith("undid CH-")
    error = failure(services.charge, charge)
    assert (error.type, error.non_retryable) == ("Withdrawn", True)


@pytest.mark.parametrize(
    ("call", "changes", "kind"),
    [
        (services.charge, {"customer_id": "declined-1"}, "Declined"),
        (services.reserve, {"lines": [{"sku": "SKU-NONE", "quantity": 1, "unit_minor": 9800}]}, "OutOfStock"),
        (lambda one: services.ship("carrier", one), {"customer_id": "nowhere-1"}, "Unshippable"),
        (lambda one: services.ship("freight", one), {"customer_id": "nowhere-1"}, "Unshippable"),
    ],
)
def test_business_refusals_are_not_tried_again(sandbox: Sandbox, call: Any, changes: Any, kind: str):
    error = failure(call, step(**changes))
    assert (error.type, error.non_retryable) == (kind, True)


@pytest.mark.parametrize("mode", ["outage", "errors", "accept_then_timeout"])
def test_what_may_pass_is_tried_again(sandbox: Sandbox, mode: str):
    sandbox.fault("payments", mode)
    error = failure(services.charge, step())
    assert (error.type, error.non_retryable) == ("DependencyUnavailable", False)


def test_a_call_ends_before_its_attempt_whatever_its_own_timeout_is(sandbox: Sandbox, settings: Any):
    settings.ORDERS = settings.ORDERS.model_copy(update={"gateway_timeout": 30})
    sandbox.fault("payments", "accept_then_timeout")
    attempt = ActivityEnvironment()
    attempt.info = replace(
        attempt.info,
        started_time=datetime.now(UTC),
        start_to_close_timeout=timedelta(seconds=1),
        schedule_to_close_timeout=None,
    )
    began = time.monotonic()
    assert failure(attempt.run, services.charge, step()).type == UNAVAILABLE
    assert time.monotonic() - began < 1


def test_nobody_there_is_unavailable(settings: Any):
    settings.ORDERS = settings.ORDERS.model_copy(update={"sandbox_url": "http://127.0.0.1:9"})
    error = failure(services.charge, step())
    assert (error.type, error.non_retryable) == ("DependencyUnavailable", False)


def test_a_refused_undo_is_refused_for_good(sandbox: Sandbox):
    sandbox.fault("payments", "refuse_undo")
    error = failure(services.undo, "payments", undo_of("k"))
    assert (error.type, error.non_retryable) == ("UndoRefused", True)


def test_both_notifications_of_a_step_are_sent(sandbox: Sandbox):
    told = step()
    assert services.notify(told, "customer").reference != services.notify(told, "warehouse").reference


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, b"<h1>not found</h1>"),
        (200, b"<h1>hello</h1>"),
        (200, b"[]"),
        (302, b""),
        (400, b'{"error": 3}'),
    ],
)
def test_what_no_service_of_ours_says_is_no_refusal(settings: Any, status: int, body: bytes):
    class Stranger(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            """Quiet."""

    with HTTPServer(("127.0.0.1", 0), Stranger) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        settings.ORDERS = settings.ORDERS.model_copy(update={"sandbox_url": url})
        error = failure(services.charge, step())
        server.shutdown()
    assert error.type == "DependencyUnavailable"
