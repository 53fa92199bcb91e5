"""The example of docs/patterns/versioning.md: workflows that tell on which build they run."""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from workers.registry.registry import Registry


def _build() -> str:
    version = workflow.info().get_current_deployment_version()
    return version.build_id if version else ""


class _Telling:
    def __init__(self) -> None:
        self._builds: list[str] = []
        self._ended = False

    async def _wait(self) -> list[str]:
        self._builds.append(_build())
        await workflow.wait_condition(lambda: self._ended)
        return self._builds

    @workflow.signal
    def poke(self) -> None:
        self._builds.append(_build())

    @workflow.signal
    def end(self) -> None:
        self._ended = True

    @workflow.query
    def builds(self) -> list[str]:
        return self._builds


@workflow.defn
class ShortWorkflow(_Telling):
    @workflow.run
    async def run(self) -> list[str]:
        return await self._wait()


@workflow.defn
class EntityWorkflow(_Telling):
    @workflow.run
    async def run(self) -> list[str]:
        return await self._wait()


def register(registry: Registry, queue: str) -> None:
    registry.add(queue, workflows=[ShortWorkflow], entities=[EntityWorkflow])
