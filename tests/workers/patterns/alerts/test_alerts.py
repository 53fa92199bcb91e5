"""Alerts: told once an id, posted with a key, and honest about receivers that do not take them."""

from __future__ import annotations

import json
import logging
import threading
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
from temporalio.testing import ActivityEnvironment

from workers.contracts.alerts import Alert
from workers.patterns.alerts.activities import raise_alert


class Receiver:
    """What was posted, and the statuses to answer with, the last one for ever."""

    def __init__(self) -> None:
        self.posted: list[tuple[str, dict[str, Any]]] = []
        self.statuses = [200]


@pytest.fixture
def receiver(settings: Any) -> Iterator[Receiver]:
    made = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            made.posted.append((self.headers["Idempotency-Key"], body))
            status = made.statuses.pop(0) if len(made.statuses) > 1 else made.statuses[0]
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/alerts"
    settings.WORKERS = settings.WORKERS.model_copy(update={"alert_url": url})
    yield made
    server.shutdown()
    server.server_close()


def an_alert() -> Alert:
    return Alert(alert_id=f"{uuid.uuid4()}/zurück/1\n", title="Stuck", detail="No answer.", workflow_id="w-1")


async def told(alert: Alert) -> None:
    await ActivityEnvironment().run(raise_alert, alert)


async def test_an_alert_is_told_once_however_often_it_is_raised(
    receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    alert = an_alert()
    await told(alert)
    await told(alert)
    assert [body for _, body in receiver.posted] == [alert.model_dump(mode="json")]
    lines = [record for record in caplog.records if record.name == "workers.patterns.alerts.activities"]
    assert [(line.levelno, "w-1" in line.message) for line in lines] == [(logging.ERROR, True)]


async def test_a_receiver_that_is_away_is_tried_again_under_the_same_key(
    receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.statuses = [503, 200]
    alert = an_alert()
    with pytest.raises(httpx.HTTPStatusError):
        await told(alert)
    await told(alert)
    assert len({key for key, _ in receiver.posted}) == 1
    assert len(receiver.posted) == 2
    assert len([record for record in caplog.records if record.message.startswith("ALERT ")]) == 1


@pytest.mark.parametrize("status", [302, 400])
async def test_a_receiver_that_refuses_is_not_asked_again(
    receiver: Receiver, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    receiver.statuses = [status]
    alert = an_alert()
    await told(alert)
    await told(alert)
    assert len(receiver.posted) == 1
    assert f"refused alert {alert.alert_id} with {status}" in caplog.text


async def test_without_an_address_it_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    await told(an_alert())
    assert "ALERT Stuck" in caplog.text
