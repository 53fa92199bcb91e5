"""A workflow and activities that log, with the SDK's loggers and with plain ones."""

from __future__ import annotations

import logging
from datetime import timedelta

from temporalio import activity, workflow

logger = logging.getLogger(__name__)
SHORT = timedelta(seconds=10)


@activity.defn(name="talk_sync", no_thread_cancel_exception=True)
def talk_sync() -> None:
    logger.info("talk: sync")


@activity.defn(name="talk_async")
async def talk_async() -> None:
    activity.logger.info("talk: async")


@workflow.defn(name="Talking")
class TalkingWorkflow:
    @workflow.run
    async def run(self) -> None:
        workflow.logger.info("talk: workflow")
        logger.info("talk: plain workflow")
        await workflow.execute_activity(talk_sync, start_to_close_timeout=SHORT)
        await workflow.execute_activity(talk_async, start_to_close_timeout=SHORT)
