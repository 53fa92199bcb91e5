"""One pooled HTTP client a process, and what an answer means for the workflow.

A gateway call has a timeout below its activity's start-to-close, so that a lost answer is seen here, as
DependencyUnavailable, and not by a killed attempt whose outcome nobody told.
"""

from __future__ import annotations

import threading
from typing import Any

import httpx
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from orders.conf import conf
from orders.messages import EffectResult, Refusal
from workers.patterns.breaker.names import UNAVAILABLE

UNDO_REFUSED = "UndoRefused"
LONGEST_ANSWER = 64 * 1024
REFUSALS = {
    "declined": Refusal.DECLINED.value,
    "out_of_stock": Refusal.OUT_OF_STOCK.value,
    "unshippable": Refusal.UNSHIPPABLE.value,
    "invalid": Refusal.INVALID_ORDER.value,
    "too_large": Refusal.INVALID_ORDER.value,
    "withdrawn": "Withdrawn",
    "key_reused": "KeyReused",
    "undo_refused": UNDO_REFUSED,
}

_lock = threading.Lock()
_clients: dict[tuple[str, float], httpx.Client] = {}


def client() -> httpx.Client:
    """The client of this process for the settings in force; safe in threads, its connections are shared."""
    settings = conf()
    key = (settings.sandbox_url, settings.gateway_timeout)
    with _lock:
        if key not in _clients:
            _clients[key] = httpx.Client(
                base_url=settings.sandbox_url,
                timeout=httpx.Timeout(settings.gateway_timeout, connect=min(1.0, settings.gateway_timeout)),
                # more than the activity threads of a worker, so that none waits for a connection
                limits=httpx.Limits(max_connections=1100, max_keepalive_connections=64),
                trust_env=False,  # a proxy of the environment is not for services beside us
            )
        return _clients[key]


def post(dependency: str, what: str, body: dict[str, Any]) -> EffectResult:
    """POST /<dependency>/<what> with the idempotency key of the body, also as a header.

    Raises ApplicationError: DependencyUnavailable (retryable) for what may pass, a Refusal or UndoRefused
    (non-retryable) for what will not.
    """
    headers = {"Idempotency-Key": body.get("undo_key") or body["key"]}
    try:
        response = client().post(f"/{dependency}/{what}", json=body, headers=headers)
    except httpx.TimeoutException as error:
        raise _unavailable(
            f"{dependency} did not answer in time; whether it happened is not known"
        ) from error
    except httpx.HTTPError as error:
        raise _unavailable(f"{dependency} cannot be reached ({type(error).__name__})") from error
    answer = _parse(response)
    if response.is_success and answer is not None:
        return EffectResult(reference=str(answer.get("reference", "")), detail=str(answer.get("detail", "")))
    raise _refusal(dependency, what, response.status_code, answer)


def _parse(response: httpx.Response) -> dict[str, Any] | None:
    """The JSON object of an answer; None for what no service of ours says, such as a proxy's error page."""
    if len(response.content) > LONGEST_ANSWER:
        return None
    try:
        answer = response.json()
    except ValueError:
        return None
    return answer if isinstance(answer, dict) else None


def _unavailable(why: str) -> ApplicationError:
    return ApplicationError(f"{why}.", type=UNAVAILABLE)


def _refusal(dependency: str, what: str, status: int, answer: dict[str, Any] | None) -> ApplicationError:
    code = str((answer or {}).get("error", ""))
    if status >= 500 or status in {408, 425, 429} or code not in REFUSALS:
        return _unavailable(f"{dependency} answered {status}{f' ({code[:60]})' if code else ''}")
    # an undo that is refused once is refused for good, whatever the reason: only a person can settle it
    kind = UNDO_REFUSED if what == "undo" else REFUSALS[code]
    detail = str((answer or {}).get("detail", ""))[:500]
    # a business refusal is an ordinary answer, nothing for the worker's log
    ordinary = ApplicationErrorCategory.UNSPECIFIED if what == "undo" else ApplicationErrorCategory.BENIGN
    return ApplicationError(f"{dependency}: {detail}", type=kind, non_retryable=True, category=ordinary)
