"""What every worker of ours does around workflows and activities, so that nobody has to copy it."""

from __future__ import annotations

from temporalio.client import Client
from temporalio.worker import Interceptor

from workers.conf import conf


def worker_interceptors(client: Client) -> list[Interceptor]:
    """The interceptors of a worker, outermost first. The client is for the breakers' signals."""
    # Imported here: the connection needs the tenancy module, and knows nothing of Django or breakers.
    from workers.interceptors.attempts import AttemptsInterceptor
    from workers.interceptors.database import DatabaseInterceptor
    from workers.interceptors.failures import FailureInterceptor
    from workers.interceptors.lifecycle import LifecycleInterceptor
    from workers.interceptors.limits import LimitInterceptor
    from workers.interceptors.payloads import PayloadInterceptor
    from workers.interceptors.plugins import PluginInterceptor
    from workers.interceptors.tenancy import TenancyInterceptor
    from workers.interceptors.versioning import VersioningInterceptor
    from workers.patterns.breaker.interceptor import BreakerInterceptor

    return [
        AttemptsInterceptor(),
        LifecycleInterceptor(),
        FailureInterceptor(),
        PluginInterceptor(),
        TenancyInterceptor(conf().tenants),
        LimitInterceptor(conf().rate_limits),
        DatabaseInterceptor(),
        BreakerInterceptor(client),
        VersioningInterceptor(),
        PayloadInterceptor(),
    ]
