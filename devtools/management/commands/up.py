"""`manage.py up`: the page, the worker, the outside world and the Temporal server, until Ctrl-C."""

from __future__ import annotations

import asyncio
import io
import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

from django.apps import apps
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error, connections

from dashboard.conf import conf as dashboard_conf
from devtools.management.commands.demo_users import PEOPLE, demo_tenant
from devtools.supervisor.state_dir import Failure, page_port, secret
from devtools.supervisor.supervisor import Demo, Plan, Supervisor
from workers.conf import conf as workers_conf


def demo_of_apps() -> Demo:
    """What the installed apps declare on their AppConfig: processes, demo_environment and seed."""
    demo = Demo()
    seeds: list[str] = []
    for app in apps.get_app_configs():
        demo.processes.update(getattr(app, "processes", {}))
        demo.environment.update(getattr(app, "demo_environment", {}))
        if seed := getattr(app, "seed", None):
            seeds.append(seed)
    return Demo(demo.processes, demo.environment, tuple(seeds))


def _reach_redis() -> None:
    """Raises Failure where CHANNEL_REDIS_URL is set, and no Redis answers there in time."""
    url = dashboard_conf().channel_redis_url
    if not url:
        return
    try:
        from redis import Redis, RedisError  # installed in production, not by `make up`
    except ImportError as error:
        hint = "install requirements-production.txt, or leave it unset"
        raise Failure(f"CHANNEL_REDIS_URL: the package redis is not installed; {hint}.") from error
    try:
        with Redis.from_url(url.get_secret_value(), socket_timeout=3, socket_connect_timeout=3) as redis:
            redis.ping()
    except (RedisError, ValueError) as error:
        raise Failure(f"CHANNEL_REDIS_URL: Redis cannot be reached: {error}".splitlines()[0]) from error


def prepare(state: Path) -> str:
    """Migrate, make the demo users, and return how to sign in. Raises Failure."""
    _reach_redis()
    given = os.environ.get("DEMO_PASSWORD")
    password = given or secret(state, "demo_password", 9).read_text()
    os.environ["DEMO_PASSWORD"] = password
    try:
        call_command("migrate", verbosity=0, interactive=False)
        call_command("demo_users", stdout=io.StringIO())
    except Error as error:
        where = connections["default"].settings_dict["NAME"]
        raise Failure(f"The migration of the database {where} failed: {error}".splitlines()[0]) from error
    finally:
        connections.close_all()
    return f"Sign in as {', '.join(PEOPLE)}; the password is {'DEMO_PASSWORD' if given else password}"


class Command(BaseCommand):
    help = "Start everything that is needed to look around; Ctrl-C ends it all."
    requires_system_checks: list[str] = []  # noqa: RUF012 (migrate checks, and so does each child)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--port", default="8000", help="of the page, on the loopback address")

    def handle(self, *, port: str, **_: Any) -> None:
        os.umask(0o077)  # databases, ledger and histories are for this account alone, whoever writes them
        state = Path(dashboard_conf().state_dir).resolve()
        demo = os.environ.get("DEMO", "")
        if demo not in ("", "0", "1"):
            raise CommandError(f"DEMO must be 1 or 0, not {demo!r}.")
        try:
            page = page_port(port)
        except Failure as failure:
            raise CommandError(str(failure)) from failure
        plan = Plan(
            port=page,
            state=state,
            conf=workers_conf(),
            foreign=bool(os.environ.get("TEMPORAL_ADDRESS") or os.environ.get("TEMPORAL_ADDRESS_FILE")),
            demo=demo == "1",
            apps=demo_of_apps(),
            prepare=partial(prepare, state),
        )
        if not plan.console_only and (tenant := demo_tenant()):
            os.environ["TENANT_ID"] = tenant  # of all that the processes start: the demo's users see it
        sys.exit(asyncio.run(_run(plan)))


async def _run(plan: Plan) -> int:
    return await Supervisor(plan, sys.stdout).run()
