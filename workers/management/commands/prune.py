"""`manage.py prune`: delete what no run can ask for any more."""

from __future__ import annotations

import asyncio
from argparse import ArgumentParser
from datetime import UTC, datetime, timedelta
from typing import Any

from django.core.management.base import CommandError

from workers.client.connection import get_client
from workers.client.errors import TemporalError, rpc_errors
from workers.management.base import TemporalCommand
from workers.models import AppliedTransaction
from workers.payloads.claims import prune_claims

DAYS, LEAST_DAYS = 180, 30


async def open_since(before: datetime) -> str:
    """The id of a run that began before then and is still open, or "". Raises TemporalUnavailable."""
    query = f"ExecutionStatus = 'Running' AND StartTime < '{before.isoformat()}'"
    client = await get_client()
    with rpc_errors():
        async for found in client.list_workflows(query, limit=1):
            return found.id
    return ""


class Command(TemporalCommand):
    help = (
        "Delete records of applied transactions and claims of large payloads that are older than --days. "
        "That must be longer than the namespace's retention, and than any run is open: it refuses while one "
        "is. "
        "Safe to run from a timer. Exit code 3: Temporal cannot be reached."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--days", type=int, default=DAYS, help=f"keep what is younger ({DAYS}, at least {LEAST_DAYS})"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["days"] < LEAST_DAYS:
            raise CommandError(f"--days must be at least {LEAST_DAYS}.", returncode=2)
        before = datetime.now(UTC) - timedelta(days=options["days"])
        try:
            oldest = asyncio.run(open_since(before))
        except TemporalError as error:
            raise CommandError(error.message, returncode=3) from error
        if oldest:
            raise CommandError(
                f"Nothing was deleted: {oldest} has been open since before {before:%Y-%m-%d} and may need "
                "it. Choose more --days."
            )
        rows, _ = AppliedTransaction.objects.filter(applied_at__lt=before).delete()
        claims = prune_claims(before)
        self.stdout.write(f"{rows} records of transactions and {claims} claims were deleted.")
