"""What breakers bring to workers, and which dependencies have one.

An app calls `breakers.register("payments", threshold=5, open_seconds=60)` in its `temporal.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from temporalio.client import Client
from temporalio.worker import WorkerConfig

from workers.client.errors import rpc_errors
from workers.patterns.breaker.activities import find_held, offer_probe, release_held
from workers.patterns.breaker.config import BreakerConfig
from workers.patterns.breaker.interceptor import BreakerInterceptor
from workers.patterns.breaker.names import QUEUE, declared_dependency
from workers.patterns.breaker.start import start_breaker
from workers.patterns.breaker.workflow import BreakerWorkflow
from workers.registry.definitions import Problem, place
from workers.registry.plugins import Plugin


class BreakerPlugin(Plugin):
    """`configs`: the settings of the registered breakers by dependency."""

    def __init__(self) -> None:
        self.configs: dict[str, BreakerConfig] = {}
        super().__init__("breaker", interceptors=lambda: [BreakerInterceptor(self.configs.get)])
        self.add(QUEUE, entities=[BreakerWorkflow], activities=[find_held, offer_probe, release_held])

    def register(self, dependency: str, *, threshold: int, open_seconds: float, **more: Any) -> None:
        """Guard `dependency` by a shared breaker, which every `runworker` keeps running.

        `more`: further settings of BreakerConfig.
        """
        given = {"threshold": threshold, "open_seconds": open_seconds, **more}
        config = BreakerConfig(dependency=dependency, **given)
        if self.configs.setdefault(dependency, config) != config:
            what = f"The breaker of {dependency} is registered twice, with different settings."
            self.report(Problem("breakers.register", what, "Register it in one place."))

    def configure_worker(self, config: WorkerConfig) -> WorkerConfig:
        """See base class. The interceptor queries and signals breakers by the worker's own client."""
        for interceptor in self.interceptors or ():
            if isinstance(interceptor, BreakerInterceptor):
                interceptor.client = config["client"]
        return super().configure_worker(config)

    def companions(self) -> Iterable[str]:
        """See base class: a registered breaker needs a worker."""
        return [QUEUE] if self.configs else []

    async def prepare(self, client: Client) -> None:
        """See that every registered breaker runs. One that was ended starts afresh."""
        for config in self.configs.values():
            handle = await start_breaker(client, config)
            with rpc_errors():  # the settings of the worker that starts last count
                await handle.signal("configure", config)

    def check(self, activities: Mapping[str, Callable[..., Any]]) -> Iterator[Problem]:
        """Activities behind a breaker that is not registered: their calls would all be admitted."""
        for name, fn in activities.items():
            dependency = declared_dependency(fn)
            if dependency and dependency not in self.configs:
                known = ", ".join(sorted(self.configs)) or "none"
                what = f"Activity {name} is guarded for {dependency!r}, which has no breaker."
                what = f"{what} Registered: {known}."
                fix = f'Call breakers.register("{dependency}", ...), or correct the name.'
                yield Problem(place(fn), what, fix)

    def describe(self, activity: Callable[..., Any]) -> str:
        """See base class."""
        dependency = declared_dependency(activity)
        if dependency is None:
            return "behind the breaker that a call names"
        return f"behind the breaker of {dependency}" if dependency else ""


breakers = BreakerPlugin()
