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
from django.core.management.base import BaseCommand, CommandParser
from django.db import Error, connections

from dashboard.conf import conf as dashboard_conf
from devtools.management.commands.demo_users import PEOPLE, demo_tenant
from devtools.supervisor.state_dir import Failure, secret
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


def prepare(state: Path) -> str:
    """Migrate, make the demo users, and return how to sign in. Raises Failure."""
    given = os.environ.get("DEMO_PASSWORD")
    password = given or secret(state, "demo_password", 9).read_text()
    os.environ["DEMO_PASSWORD"] = password
    try:
        call_command("migrate", verbosity=0, interactive=False)
        call_command("demo_users", stdout=io.StringIO())
    except Error as error:
        raise Failure(f"The migration of the database failed: {error}".splitlines()[0]) from error
    finally:
        connections.close_all()
    return f"Sign in as {', '.join(PEOPLE)}; the password is {'DEMO_PASSWORD' if given else password}"


class Command(BaseCommand):
    help = "Start everything that is needed to look around; Ctrl-C ends it all."
    requires_system_checks: list[str] = []  # noqa: RUF012 (migrate checks, and so does each child)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--port", type=int, default=8000, help="of the page, on the loopback address")

    def handle(self, *, port: int, **_: Any) -> None:
        state = Path(dashboard_conf().state_dir).resolve()
        plan = Plan(
            port=port,
            state=state,
            conf=workers_conf(),
            foreign=bool(os.environ.get("TEMPORAL_ADDRESS") or os.environ.get("TEMPORAL_ADDRESS_FILE")),
            demo=os.environ.get("DEMO") == "1",
            apps=demo_of_apps(),
            prepare=partial(prepare, state),
        )
        if not plan.console_only and (tenant := demo_tenant()):
            os.environ["TENANT_ID"] = tenant  # of all that the processes start: the demo's users see it
        sys.exit(asyncio.run(_run(plan)))


async def _run(plan: Plan) -> int:
    return await Supervisor(plan, sys.stdout).run()
