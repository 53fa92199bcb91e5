"""`make bench`: measurements, each on a server of its own in memory, and the table."""

from __future__ import annotations

import argparse
import asyncio
import os
import secrets
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import django
import httpx

ROOT = Path(__file__).resolve().parent.parent
_SEED_SECONDS = 600.0
_REST_SECONDS = 20.0  # the server still writes after the last start
_START_SECONDS = 60.0


def _set_up(state: str) -> None:
    """Django as in production, with a state folder of its own, whatever the shell says."""
    os.environ.update(
        SIGNALBOX_MODE="production",
        SECRET_KEY=secrets.token_urlsafe(48),
        AUDIT_KEYS=secrets.token_urlsafe(48),
        REQUIRE_HTTPS="false",  # the pages are asked for by plain HTTP
        SIGNALBOX_STATE_DIR=state,
        DJANGO_SETTINGS_MODULE="dashboard.settings",
        ALLOWED_HOSTS="127.0.0.1,testserver",  # the last is how Django's test client calls itself
    )
    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    call_command("collectstatic", verbosity=0, interactive=False)


@asynccontextmanager
async def _temporal(ui_port: int = 0) -> AsyncIterator[Any]:
    """A client of a fresh server with all attributes; the settings of this process point to it."""
    from bench.settings import point
    from workers.client.attributes import PLATFORM, ensure
    from workers.client.connection import connect, set_client
    from workers.conf import conf
    from workers.devserver import server as devserver
    from workers.registry.registry import registry

    server = await devserver.start(ui_port=ui_port)
    try:
        point(workers=conf().model_copy(update={"address": server.address}))
        registry.load()
        client = await connect(for_worker=True)
        await ensure(client, [*PLATFORM, *registry.attributes])
        set_client(client)
        yield client
    finally:
        set_client(None)
        await server.stop()


@asynccontextmanager
async def _web(port: int) -> AsyncIterator[str]:
    """The web server, on the server that the settings name."""
    from workers.conf import conf

    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "manage.py", "runweb", "--port", str(port)),
        cwd=ROOT,
        env={**os.environ, "TEMPORAL_ADDRESS": conf().address},
    )
    url = f"http://127.0.0.1:{port}"
    try:
        async with httpx.AsyncClient(trust_env=False) as http, asyncio.timeout(_START_SECONDS):
            while True:
                try:
                    (await http.get(f"{url}/login/")).raise_for_status()
                    break
                except httpx.TransportError:
                    await asyncio.sleep(0.1)
        yield url
    finally:
        process.terminate()
        await process.wait()


def _person() -> tuple[Any, dict[str, Any]]:
    """A viewer and the cookie of a session of theirs."""
    from django.conf import settings
    from django.contrib.auth.models import Group, User
    from django.test import Client

    user, _ = User.objects.get_or_create(username="bench")
    user.groups.add(Group.objects.get_or_create(name="viewer")[0])
    http = Client()
    http.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    name = settings.SESSION_COOKIE_NAME
    return user, {"name": name, "value": http.cookies[name].value, "url": "http://127.0.0.1"}


async def _lists(workflows: int, rounds: int) -> list[Any]:
    from bench import pages, reads
    from bench.seed import customer, seed
    from dashboard.query.query import Filter, Term, list_url
    from devtools.supervisor.state_dir import ports
    from workers.conf import conf

    with tempfile.TemporaryDirectory() as folder:
        free = ports(Path(folder), ["ui", "web"])
    path = list_url(conf().namespace, Filter(terms=(Term("CustomerId", "=", customer(7)),)))
    query = f"CustomerId = '{customer(7)}'"
    user, cookie = await asyncio.to_thread(_person)
    async with _temporal(ui_port=free["ui"]) as client:
        print(f"Seeding {workflows} workflows ...")
        await seed(client, workflows, _SEED_SECONDS)
        await asyncio.sleep(_REST_SECONDS)
        theirs = f"http://127.0.0.1:{free['ui']}/namespaces/{client.namespace}/workflows"
        theirs += str(httpx.URL("", params={"query": query, "per-page": pages.ROWS}))
        async with _web(free["web"]) as url:
            rows = await pages.measure(f"{url}{path}", theirs, cookie, rounds)
        return rows + await reads.measure(client, path, query, user, 5 * rounds)


async def _orders(state: str, rounds: int) -> list[Any]:
    from bench import orders

    async with _temporal() as client:
        return await orders.measure(client, Path(state), 5 * rounds)


async def _breaker() -> list[Any]:
    from bench import breaker

    async with _temporal() as client:
        return await breaker.measure(client)


async def _throughput(state: str, rounds: int, count: int) -> list[Any]:
    from bench import throughput

    async with _temporal():
        return await throughput.measure(Path(state), rounds, count) + await throughput.ready(3)


async def _limits() -> list[Any]:
    from bench import limits

    user, _ = await asyncio.to_thread(_person)
    async with _temporal() as client:
        return await limits.measure(client, user) + await asyncio.to_thread(limits.verify)


async def main(options: argparse.Namespace, state: str) -> int:
    """Measure, print, write; 1 when a target is missed."""
    from bench.results import table, write

    rows = []
    if options.only in (None, "lists"):
        rows += await _lists(options.workflows, options.rounds)
    if options.only in (None, "orders"):
        rows += await _orders(state, options.rounds)
    if options.only in (None, "breaker"):
        rows += await _breaker()
    if options.only in (None, "throughput"):
        rows += await _throughput(state, options.rounds, options.orders)
    if options.only in (None, "query"):
        from bench import query

        rows += query.measure()
    if options.only in (None, "limits"):
        rows += await _limits()
    if options.only in (None, "simulator"):
        from bench import simulator

        rows += simulator.measure()
    print(table(rows))
    if not options.only:
        write(rows)
    return int(any(row.ok is False for row in rows))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workflows", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--orders", type=int, default=100, help="orders in each round of the throughput")
    parser.add_argument(
        "--only",
        choices=("lists", "orders", "breaker", "throughput", "query", "limits", "simulator"),
        help="print one of them, write nothing",
    )
    with tempfile.TemporaryDirectory(prefix="signalbox-bench-") as folder:
        _set_up(folder)
        sys.exit(asyncio.run(main(parser.parse_args(), folder)))
