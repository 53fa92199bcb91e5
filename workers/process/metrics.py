"""The SDK's runtime of a worker process: where its log lines go, and where Prometheus reads its metrics."""

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
    """A runtime whose warnings go to our log. `port`: where Prometheus reads; 0: no metrics.

    Raises OSError when the port is taken.
    """
    metrics = PrometheusConfig(bind_address=f"{host}:{port}", counters_total_suffix=True) if port else None
    warnings = TelemetryFilter(core_level="WARN", other_level="ERROR")
    forwarding = LogForwardingConfig(
        logger=logging.getLogger("temporalio"),
        prepend_target_on_message=False,  # the logger's name has it
        append_log_fields_to_message=False,  # see logs.CoreFields
    )
    telemetry = TelemetryConfig(
        logging=LoggingConfig(filter=warnings, forwarding=forwarding), metrics=metrics
    )
    try:
        made = Runtime(telemetry=telemetry)
    except (RuntimeError, ValueError) as error:
        raise OSError(str(error)) from error
    counters.use(made.metric_meter)
    return made
