"""The example of docs/patterns/plugins.md: a plugin that brings an activity and a workflow."""

from __future__ import annotations

from datetime import timedelta

from pydantic import BaseModel
from temporalio import activity, workflow

with workflow.unsafe.imports_passed_through():
    from workers.registry.plugins import Plugin

plugin = Plugin("mailer")


class Letter(BaseModel):
    to: str
    text: str = ""


@plugin.activity("mail-queue")
@activity.defn(name="mailer.send")
async def send(letter: Letter) -> str:
    return f"sent to {letter.to}"


@plugin.workflow("mail-queue")
@workflow.defn(name="mailer.Mailing")
class Mailing:
    @workflow.run
    async def run(self, letter: Letter) -> str:
        return await workflow.execute_activity(send, letter, start_to_close_timeout=timedelta(seconds=30))
