"""The SDK's runtime with metrics for Prometheus: its own, and those of workers/counters.py."""

from __future__ import annotations

import logging

from temporalio.runtime import (
    LogForwardingConfig,
    LoggingConfig,
    PrometheusConfig,
    Runtime,
    TelemetryConfig,
    TelemetryFilter,
)

from workers import counters


def runtime(host: str, port: int) -> Runtime:
    """The SDK's runtime, whose warnings go to our log. `port`: where Prometheus scrapes; 0: nowhere.

    Raises OSError when the port is taken.
    """
    metrics = PrometheusConfig(bind_address=f"{host}:{port}", counters_total_suffix=True) if port else None
    warnings = TelemetryFilter(core_level="WARN", other_level="ERROR")
    forwarding = LogForwardingConfig(logger=logging.getLogger("temporalio"))
    telemetry = TelemetryConfig(
        logging=LoggingConfig(filter=warnings, forwarding=forwarding), metrics=metrics
    )
    try:
        made = Runtime(telemetry=telemetry)
    except (RuntimeError, ValueError) as error:
        raise OSError(str(error)) from error
    if port:
        counters.use(made.metric_meter)
    return made
