"""Requests without end, against a real server: bodies, headers and connections are cut before any login."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import uvicorn

from dashboard.conf import DashboardConf
from dashboard.web import limits, server
from tests.support import eventually

pytestmark = pytest.mark.django_db(transaction=True)
CHUNK = b"10000\r\n" + b"x" * 65_536 + b"\r\n"


def settings_of(**fields: object) -> DashboardConf:
    return DashboardConf.model_validate({"mode": "development", **fields})


@pytest.fixture
async def port(request: pytest.FixtureRequest) -> AsyncIterator[int]:
    """The port of a web server; the parameter is its settings."""
    listener = socket.create_server(("127.0.0.1", 0))
    serving = uvicorn.Server(server.config(settings_of(**getattr(request, "param", {})), "127.0.0.1", 0))
    if request.function is test_a_proxy_counts_only_where_it_is_trusted:
        serving.config.app = echo
    serving.config.lifespan = "off"
    task = asyncio.create_task(serving.serve(sockets=[listener]))
    await eventually(lambda: serving.started)
    yield listener.getsockname()[1]
    serving.should_exit = True
    await task


class Connection:
    """A client that writes what no library would."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def to(cls, port: int, text: bytes = b"") -> Connection:
        made = cls(*await asyncio.open_connection("127.0.0.1", port))
        made.writer.write(text)
        return made

    async def answer(self) -> bytes:
        """All that comes until the server closes; b"" when it cuts the connection without a word."""
        try:
            async with asyncio.timeout(20):
                return await self.reader.read()
        except ConnectionError:
            return b""
        finally:
            self.writer.close()


def request(*headers: bytes, path: bytes = b"/healthz", method: bytes = b"POST") -> bytes:
    lines = [method + b" " + path + b" HTTP/1.1", b"Host: localhost", *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n"


async def test_a_body_that_announces_too_much_is_refused_at_once(port: int) -> None:
    connection = await Connection.to(port, request(b"Content-Length: 100000000"))
    assert b" 413 " in (await connection.answer()).splitlines()[0]


async def test_chunks_end_at_the_limit(port: int) -> None:
    connection = await Connection.to(port, request(b"Transfer-Encoding: chunked"))
    sent = 0
    try:
        while sent < 100_000_000 and not connection.reader.at_eof():
            connection.writer.write(CHUNK)
            await connection.writer.drain()
            sent += 65_536
    except ConnectionError:
        pass
    assert sent < limits.LARGEST_BODY + 8_000_000  # what the buffers of two sockets take


async def test_chunks_over_the_limit_are_answered(port: int) -> None:
    body = CHUNK * (limits.LARGEST_BODY // 65_536 + 1)
    connection = await Connection.to(port, request(b"Transfer-Encoding: chunked") + body)
    assert b" 413 " in (await connection.answer()).splitlines()[0]


async def test_a_body_within_the_limit_arrives(port: int) -> None:
    length = b"Content-Length: %d" % (limits.LARGEST_BODY - 1_000_000)
    connection = await Connection.to(port, request(length, b"Connection: close") + b"x" * 1_621_440)
    assert b" 403 " in (await connection.answer()).splitlines()[0]  # without a CSRF token


async def test_a_body_that_trickles_is_cut_at_its_deadline() -> None:
    slow = limits.BodyLimits(_swallow, seconds=0.5)
    got: list[dict[str, object]] = []

    async def trickle() -> dict[str, object]:
        await asyncio.sleep(0.2)
        return {"type": "http.request", "body": b"x", "more_body": True}

    async def send(message: dict[str, object]) -> None:
        got.append(message)

    await slow({"type": "http", "headers": []}, trickle, send)
    assert got[0]["status"] == 408


async def _swallow(scope, receive, send) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


@pytest.mark.parametrize("begun", [b"", b"GET / HTTP/1.1\r\nHost: localhost\r\n"], ids=["none", "half"])
async def test_headers_that_do_not_arrive_are_cut(port: int, monkeypatch, begun: bytes) -> None:
    monkeypatch.setattr(server, "HEADER_SECONDS", 0.3)
    connection = await Connection.to(port, begun)
    assert await connection.answer() == b""


async def test_a_second_request_of_a_connection_has_its_deadline_too(port: int, monkeypatch) -> None:
    monkeypatch.setattr(server, "HEADER_SECONDS", 0.3)
    connection = await Connection.to(port, request(method=b"GET"))
    assert b" 200 " in await connection.reader.readline()
    connection.writer.write(b"GET / HTTP/1.1\r\n")
    assert b"HTTP/1.1" not in await connection.answer()


async def test_headers_without_end_are_cut(port: int) -> None:
    connection = await Connection.to(port, b"GET / HTTP/1.1\r\nHost: localhost\r\n")
    sent = 0
    try:
        while sent < 50_000_000 and not connection.reader.at_eof():
            connection.writer.write(b"X-More: " + b"x" * 8000 + b"\r\n")
            await connection.writer.drain()
            sent += 8000
    except ConnectionError:
        pass
    assert sent < 10_000_000


@pytest.mark.parametrize("port", [{"max_connections": 10}], indirect=True)
async def test_connections_over_the_limit_are_turned_away(port: int) -> None:
    held = [await Connection.to(port, b"GET / HTTP/1.1\r\n") for _ in range(10)]
    one_more = await Connection.to(port, request(b"Connection: close", method=b"GET"))
    assert b" 503 " in (await one_more.answer()).splitlines()[0]
    for connection in held:
        connection.writer.close()


FORWARDED = (b"X-Forwarded-For: 198.51.100.7", b"X-Forwarded-Proto: https", b"Connection: close")


async def echo(scope, receive, send) -> None:
    """Answers who the application thinks that the client is."""
    body = f"{scope['scheme']} {scope['client'][0]}".encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


@pytest.mark.parametrize(
    ("port", "seen"),
    [
        ({}, b"http 127.0.0.1"),
        ({"trusted_proxies": "10.0.0.0/8"}, b"http 127.0.0.1"),
        ({"trusted_proxies": "10.0.0.0/8,127.0.0.1"}, b"https 198.51.100.7"),
    ],
    indirect=["port"],
)
async def test_a_proxy_counts_only_where_it_is_trusted(port: int, seen: bytes) -> None:
    connection = await Connection.to(port, request(*FORWARDED, path=b"/"))
    assert (await connection.answer()).splitlines()[-3] == seen


def test_units_start_the_server_that_has_the_limits() -> None:
    unit = (Path(__file__).parents[2] / "deploy" / "signalbox-web.service").read_text()
    assert re.search(r"^ExecStart=.* manage\.py runweb ", unit, re.MULTILINE)
    for file in ("signalbox-web.service", "signalbox-worker.service"):
        lines = (Path(__file__).parents[2] / "deploy" / file).read_text().splitlines()
        wanted = {"UMask=0077", "StateDirectoryMode=0700", "RestartSec=5", "StartLimitIntervalSec=0"}
        assert wanted <= set(lines), file
