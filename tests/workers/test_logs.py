"""A worker's log: a line for an answer, a traceback for a fault."""

from __future__ import annotations

import logging

import pytest
from temporalio.exceptions import ApplicationError

from workers.logs import OnPurpose


def told(error: Exception) -> str:
    try:
        raise error
    except type(error) as raised:
        info = (type(raised), raised, raised.__traceback__)
    record = logging.LogRecord("temporalio.activity", logging.WARNING, "", 1, "failed", None, info)
    record.temporal_activity = {"activity_type": "charge_payment", "workflow_id": "order-1", "attempt": 3}
    assert OnPurpose().filter(record)
    return logging.Formatter("%(message)s").format(record)


def test_what_was_raised_on_purpose_is_one_line() -> None:
    line = "charge_payment of order-1, attempt 3: Declined: The card was declined."
    assert told(ApplicationError("The card was declined.", type="Declined")) == line


@pytest.mark.parametrize("error", [TypeError("a fault"), KeyError("x")])
def test_a_fault_keeps_its_traceback(error: Exception) -> None:
    assert "Traceback" in told(error)
