"""What surrounds workflows and activities, of a worker, a test's worker and a Replayer alike."""

from __future__ import annotations

from collections.abc import Sequence

from temporalio.plugin import SimplePlugin
from temporalio.worker import Interceptor

from workers.conf import conf
from workers.interceptors.attempts import AttemptsInterceptor
from workers.interceptors.database import DatabaseInterceptor
from workers.interceptors.failures import FailureInterceptor
from workers.interceptors.lifecycle import LifecycleInterceptor
from workers.interceptors.limits import LimitInterceptor
from workers.interceptors.payloads import PayloadInterceptor
from workers.interceptors.tenancy import TenancyInterceptor
from workers.interceptors.versioning import VersioningInterceptor
from workers.process.sandbox import workflow_runner
from workers.process.versions import upgrading
from workers.registry.registry import registry


def worker_plugins() -> Sequence[SimplePlugin]:
    """`Worker(..., plugins=worker_plugins())`, once a process, as its workers share limits and breakers.

    Interceptors, outermost first: the platform's, those that patterns and packages bring, and the payloads',
    which is the last to see what goes out. The registry has to be loaded.
    """
    settings = conf()
    types = [name for queue in registry.queues.values() for name in upgrading(settings, queue)]
    outer = [
        AttemptsInterceptor(),
        LifecycleInterceptor(),
        FailureInterceptor(),
        TenancyInterceptor(settings.tenants),
        LimitInterceptor(settings.rate_limits),
        DatabaseInterceptor(),
    ]
    return [
        SimplePlugin("signalbox", interceptors=outer, workflow_runner=workflow_runner(types)),
        *(plugin.fresh() for plugin in registry.plugins.values()),
        SimplePlugin("signalbox-payloads", interceptors=[VersioningInterceptor(), PayloadInterceptor()]),
    ]


def worker_interceptors() -> list[Interceptor]:
    """The interceptors of `worker_plugins()` in one list, outermost first, for code that runs without a
    Worker."""
    found = (plugin.interceptors or () for plugin in worker_plugins())
    return [item for items in found if not callable(items) for item in items if isinstance(item, Interceptor)]
