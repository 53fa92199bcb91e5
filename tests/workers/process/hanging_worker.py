"""A worker that hangs at row 8 until it is killed.

python -m tests.workers.process.hanging_worker QUEUE FILE
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import django
from temporalio.worker import Worker

ROW = 8


async def main(queue: str, told: Path) -> None:
    from workers.client.connection import connect
    from workers.patterns.batches.activities import batch_activity

    def tell(line: str) -> None:
        with told.open("a") as file:
            file.write(f"{line}\n")

    @batch_activity("import_rows")
    async def import_rows(row: int, key: str) -> None:
        tell(f"begun {key}")
        # Long enough that heartbeats leave between rows; they are throttled to one in 0.8 s here.
        await asyncio.sleep(3600 if row == ROW else 0.3)
        tell(f"done {key}")

    await Worker(await connect(for_worker=True), task_queue=queue, activities=[import_rows]).run()


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    django.setup()
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
