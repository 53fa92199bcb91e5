"""The example of docs/patterns/plugins.md: a run that asks once what is switched, and keeps the answer."""

from __future__ import annotations

from datetime import timedelta

from temporalio import activity, workflow

with workflow.unsafe.imports_passed_through():
    from tests.examples.mailer import Letter
    from workers.patterns.dynamic.switches import activity_of_run, flags_of_run


@workflow.defn
class Greeting:
    """Sends a letter by what the tenant sends letters with; signed, when the flag `signed-letters` is on."""

    def __init__(self) -> None:
        self._go_on = False

    @workflow.run
    async def run(self, letter: Letter) -> list[str]:
        self._flags = await flags_of_run("signed-letters")
        self._send = await activity_of_run("mailer.send")
        first = await self._write(letter)
        await workflow.wait_condition(lambda: self._go_on)
        return [first, await self._write(letter)]

    async def _write(self, letter: Letter) -> str:
        sent = await workflow.execute_activity(
            self._send.name,
            letter,
            task_queue=self._send.queue,
            start_to_close_timeout=timedelta(seconds=30),
            result_type=str,
        )
        return f"{sent}, signed" if self._flags["signed-letters"] else sent

    @workflow.signal
    def go_on(self) -> None:
        self._go_on = True


@activity.defn
async def send_nowhere(letter: Letter) -> str:
    return f"kept for {letter.to}"
