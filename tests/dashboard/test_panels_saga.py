"""What of a saga can be resolved: a stuck compensation, and a stuck step from which there is no way back."""

from __future__ import annotations

from dashboard.panels.saga import stuck_steps
from workers.contracts import CompensationStatus, SagaStatus, StepState, StepStatus


def test_stuck_steps_and_stuck_compensations_can_be_resolved() -> None:
    stuck = CompensationStatus(name="refund", status=StepState.STUCK)
    status = SagaStatus(
        steps=[
            StepStatus(name="reserve", status=StepState.DONE),
            StepStatus(name="charge", status=StepState.DONE, compensation=stuck),
            StepStatus(name="tell", status=StepState.STUCK),
        ]
    )
    assert stuck_steps(status) == ["charge", "tell"]
