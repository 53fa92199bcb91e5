"""Every golden history of the patterns replays against the workflows that workers run today."""

from __future__ import annotations

from pathlib import Path

import pytest
from temporalio.client import Client

from tests.golden import FOLDER, golden, replayer
from workers.registry.registry import registry

HISTORIES = sorted(FOLDER.glob("*.json"))


@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.stem)
async def test_golden_history_replays(client: Client, path: Path) -> None:
    registry.load()
    workflows = [cls for queue in registry.queues.values() for cls in queue.workflows]
    await replayer(client, workflows).replay_workflow(golden(path))
