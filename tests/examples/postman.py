"""A second plugin with the same short names, to show that they stay apart."""

from __future__ import annotations

from datetime import timedelta

from temporalio import activity, workflow

with workflow.unsafe.imports_passed_through():
    from tests.examples.mailer import Letter
    from workers.registry.plugins import Plugin

plugin = Plugin("postman")


@activity.defn(name="postman.send", no_thread_cancel_exception=True)
def send(letter: Letter) -> str:
    return f"carried to {letter.to}"


@workflow.defn(name="postman.Errand")
class Errand:
    """By name, as a local activity, and in a child of the same plugin."""

    @workflow.run
    async def run(self, letter: Letter) -> list[str]:
        limit = timedelta(seconds=30)
        return [
            await workflow.execute_activity(
                "postman.send", letter, start_to_close_timeout=limit, result_type=str
            ),
            await workflow.execute_local_activity(send, letter, start_to_close_timeout=limit),
            await workflow.execute_child_workflow(
                Mailing.run, letter, id=f"{workflow.info().workflow_id}-child"
            ),
        ]


@workflow.defn(name="postman.Mailing")
class Mailing:
    @workflow.run
    async def run(self, letter: Letter) -> str:
        return await workflow.execute_activity(send, letter, start_to_close_timeout=timedelta(seconds=30))


plugin.add("mail-queue", workflows=[Errand, Mailing], activities=[send])
