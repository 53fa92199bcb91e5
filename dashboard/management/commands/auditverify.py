"""`manage.py auditverify`: does the chain of the audit log hold?"""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from dashboard.audit import log as audit


class Command(BaseCommand):
    help = (
        "Walk the audit log; exit 1 and name the first row that was changed, or before which one is missing."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        count, last, broken = audit.verify()
        if broken:
            raise CommandError(
                f"Row {broken.entry_id} breaks the chain: {broken.why}. {count} rows before it hold."
            )
        self.stdout.write(f"{count} rows hold. The last hash is {last}.")
