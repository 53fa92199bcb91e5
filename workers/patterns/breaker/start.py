"""Starts the breaker workflow of a dependency."""

from __future__ import annotations

from typing import Any

from temporalio.client import Client, WorkflowHandle
from temporalio.common import WorkflowIDReusePolicy

from workers.client.launch import launch
from workers.client.tenants import PLATFORM_TENANT
from workers.patterns.breaker.config import BreakerConfig
from workers.patterns.breaker.names import WORKFLOW_TYPE, breaker_id


async def start_breaker(client: Client, config: BreakerConfig) -> WorkflowHandle[Any, Any]:
    """The breaker of `config.dependency`, started unless it runs; one that was ended starts afresh.

    One that runs keeps its settings: signal `configure` changes them. Raises as `launch` does.
    """
    return await launch(
        WORKFLOW_TYPE,
        config,
        id=breaker_id(config.dependency),
        summary=f"Breaker of {config.dependency}",
        tenant=PLATFORM_TENANT,
        any_input=True,
        reuse=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
        client=client,
    )
