"""What every tenant may see of a breaker that tenants share: state, counts and times.

Its texts come from calls and people of any tenant: an error may hold a customer's name, the holder of a probe
is a workflow id. Fields are therefore taken by an allow-list, and unknown ones are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FIELDS = (
    *("state", "dependency", "epoch", "failure_count", "threshold", "last_failure_time", "opened_at"),
    *("next_probe_at", "open_seconds", "opened_times", "probe_claimable", "calls", "failures"),
    *("failure_rate", "minimum_calls", "window_seconds", "processes"),
)
FORCED = ("state", "by", "until")
TRANSITION = ("at", "state")


def _only(names: tuple[str, ...], value: Any) -> dict[str, Any]:
    return {name: value[name] for name in names if name in value} if isinstance(value, Mapping) else {}


def shared_view(answer: Any) -> dict[str, Any]:
    """The answer to `get_circuit_status` as plain JSON, without its texts; empty for one that is no
    object."""
    kept = _only(FIELDS, answer)
    if isinstance(answer, Mapping) and isinstance(answer.get("forced"), Mapping):
        kept["forced"] = _only(FORCED, answer["forced"])
    if isinstance(answer, Mapping) and isinstance(answer.get("transitions"), list):
        kept["transitions"] = [_only(TRANSITION, change) for change in answer["transitions"]]
    return kept
