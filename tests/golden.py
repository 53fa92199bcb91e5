"""Golden histories: recorded once, replayed by every run, so that what is under way survives a deploy.

A test that plays a workflow to its end calls `replays(client, handle, name, workflows)`: the fresh history
replays, and with `RECORD_HISTORIES=1` it becomes tests/histories/patterns/<name>.json. What lies in that
folder is replayed by tests/workers/test_golden.py, against the registered workflows. Record anew only after
a change that no running workflow survives; for every other change there is `workflow.patched`, and the old
history stays beside the new one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from temporalio.client import Client, WorkflowHandle, WorkflowHistory
from temporalio.worker import Replayer

from workers.process.plugins import worker_plugins

FOLDER = Path(__file__).parent / "histories" / "patterns"
PRIVATE = {"identity", "stackTrace", "workerVersion", "binaryChecksum"}  # of the machine that recorded


def scrubbed(value: Any) -> Any:
    """Without what names the machine, its processes and its sticky queues."""
    if isinstance(value, dict):
        if value.get("kind") == "TASK_QUEUE_KIND_STICKY":
            return {"name": "sticky"}
        return {name: scrubbed(item) for name, item in value.items() if name not in PRIVATE}
    return [scrubbed(item) for item in value] if isinstance(value, list) else value


def golden(path: Path) -> WorkflowHistory:
    """A recorded history, with the id of its workflow."""
    content = json.loads(path.read_text())
    return WorkflowHistory.from_json(content.pop("workflowId"), content)


def replayer(client: Client, workflows: Iterable[type]) -> Replayer:
    """Replays as a worker of ours would run."""
    return Replayer(
        workflows=[*workflows],
        plugins=worker_plugins(),
        data_converter=client.data_converter,
    )


async def replays(
    client: Client, handle: WorkflowHandle[Any, Any], name: str, workflows: Iterable[type]
) -> None:
    """The history of a run replays; RECORD_HISTORIES=1 keeps it as golden history `name`."""
    history = await handle.fetch_history()
    if os.environ.get("RECORD_HISTORIES"):
        FOLDER.mkdir(parents=True, exist_ok=True)
        content = {"workflowId": history.workflow_id, **scrubbed(json.loads(history.to_json()))}
        (FOLDER / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")
    await replayer(client, workflows).replay_workflow(history)
