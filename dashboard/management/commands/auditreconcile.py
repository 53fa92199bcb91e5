"""`manage.py auditreconcile`: write the outcomes of decisions that the audit lacks, and the starts and
ends of runs that were launched with LIFECYCLE_AUDIT."""

from __future__ import annotations

import asyncio
from argparse import ArgumentParser
from datetime import UTC, datetime, timedelta
from typing import Any

from asgiref.sync import sync_to_async
from django.core.management.base import CommandError

from dashboard import temporal
from dashboard.audit.outcomes import settle
from dashboard.audit.reconcile import audited
from workers.client.connection import get_client
from workers.client.errors import TemporalError
from workers.management.base import TemporalCommand


async def reconcile(since: datetime) -> int:
    """How many events were missing; each is written once, however often this runs."""
    written = 0
    async for events in audited(await get_client(), since):
        for event in events:
            event.detail = "written by auditreconcile"
            written += await sync_to_async(temporal.record)(event)
    return written


async def _both(since: datetime) -> tuple[int, int]:
    return await reconcile(since), await settle(await get_client())


class Command(TemporalCommand):
    help = (
        "Compare the runs that Temporal knows with the audit log, and write the outcomes of decisions and "
        "the starts and ends of runs that are missing there. Safe to run at any time, and again."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--hours", type=float, default=24, help="runs closed within the last N (24)")

    def handle(self, *args: Any, **options: Any) -> None:
        since = datetime.now(UTC) - timedelta(hours=options["hours"])
        try:
            written, outcomes = asyncio.run(_both(since))
        except TemporalError as error:
            raise CommandError(error.message, returncode=3) from error
        self.stdout.write(f"{written} events of runs and {outcomes} outcomes were missing and are written.")
