"""Probes tell the truth, and the application serves files, sockets and its start."""

from __future__ import annotations

import asyncio

import pytest
from asgiref.sync import sync_to_async
from asgiref.testing import ApplicationCommunicator
from django.conf import settings as django_settings
from django.db import DatabaseError

from dashboard.web import probes
from tests.support import read_only
from workers.client import connection
from workers.client.connection import set_client
from workers.conf import conf as workers_conf

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def away():
    """Nobody listens at the address; the client of the run comes back after the test."""
    before, conf = connection._client, workers_conf()
    set_client(None)
    django_settings.WORKERS = conf.model_copy(update={"address": "127.0.0.1:1", "rpc_timeout": 0.5})
    yield
    django_settings.WORKERS = conf
    set_client(before)


@pytest.fixture(autouse=True)
def unknown(monkeypatch):
    """Nothing was checked within the last second."""
    monkeypatch.setattr(probes, "_last", None)


async def test_ready_when_both_answer(async_client, client):
    response = await async_client.get("/readyz")
    assert (response.status_code, response.json()) == (
        200,
        {"status": "ok", "database": "ok", "temporal": "ok"},
    )


async def test_ready_without_temporal_as_the_last_state_is_shown(async_client, away):
    assert (await async_client.get("/healthz")).status_code == 200
    response = await async_client.get("/readyz")
    assert response.status_code == 200
    assert response.json()["database"] == "ok"
    assert response.json()["temporal"].startswith("Temporal ")
    assert "127.0.0.1" not in response.content.decode()


async def test_not_ready_without_the_database(async_client, client, monkeypatch):
    class Broken:
        def cursor(self):
            raise DatabaseError("gone")

    monkeypatch.setattr(probes, "connection", Broken())
    response = await async_client.get("/readyz")
    assert response.json()["database"] == "The database does not answer."
    assert response.status_code == 503


async def test_not_ready_when_nothing_can_be_written(async_client, client):
    await sync_to_async(read_only)(True)
    try:
        response = await async_client.get("/readyz")
    finally:
        await sync_to_async(read_only)(False)
    assert response.status_code == 503
    assert response.json()["database"].startswith("The database cannot be written")


async def test_many_probes_are_one_check(async_client, client, monkeypatch):
    checked = []

    def check() -> str:
        checked.append(1)
        return "ok"

    monkeypatch.setattr(probes, "_database", check)
    await asyncio.gather(*(async_client.get("/readyz") for _ in range(20)))
    assert checked == [1]


async def test_the_row_of_the_probe_is_no_session(async_client, client):
    await async_client.get("/readyz")
    async_client.cookies["sessionid"] = probes.PROBE_KEY
    assert (await async_client.get("/audit/")).status_code == 302


async def test_an_unknown_socket_is_closed_with_a_code():
    from dashboard.asgi import application

    scope = {"type": "websocket", "path": "/no/such/socket/", "headers": [], "subprotocols": []}
    socket = ApplicationCommunicator(application, scope)
    await socket.send_input({"type": "websocket.connect"})
    assert (await socket.receive_output(5))["type"] == "websocket.accept"
    assert (await socket.receive_output(5))["code"] == 4404
    await socket.wait(5)


async def test_the_application_starts_while_temporal_is_away(away):
    from dashboard.asgi import application

    app = ApplicationCommunicator(application, {"type": "lifespan", "asgi": {"version": "3.0"}})
    for event in ("startup", "shutdown"):
        await app.send_input({"type": f"lifespan.{event}"})
        assert (await app.receive_output(5))["type"] == f"lifespan.{event}.complete"


async def get(path):
    from dashboard.asgi import application

    scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "query_string": b"",
        "headers": [(b"host", b"localhost")],
    }
    app = ApplicationCommunicator(application, {**scope, "http_version": "1.1", "asgi": {"version": "3.0"}})
    await app.send_input({"type": "http.request", "body": b""})
    start = await app.receive_output(5)
    body = await app.receive_output(5)
    return start["status"], dict(start["headers"]), body.get("body", b"")


async def test_static_files_are_served_as_the_apps_have_them():
    status, headers, body = await get("/static/dashboard/signalbox.css")
    assert status == 200
    assert headers[b"content-type"].startswith(b"text/css")
    assert headers[b"x-content-type-options"] == b"nosniff"
    assert body


@pytest.mark.parametrize("path", ["/static/none.css", "/static/../settings.py", "/static/%2e%2e/conf.py"])
async def test_nothing_else_is_a_file(path):
    assert (await get(path))[0] == 404
