"""One pooled HTTP client a process, and what an answer means for the workflow.

A gateway call as a whole ends before its attempt does, so that a lost answer is seen here, as
DependencyUnavailable, and not by an attempt that timed out and reported nothing.
"""

from __future__ import annotations

import threading
from typing import Any

import httpx
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from orders.conf import conf
from orders.messages import EffectResult, Refusal
from workers.contracts.effects import effect_refused
from workers.deadlines import time_left
from workers.patterns.breaker.names import UNAVAILABLE
from workers.patterns.http.transport import TotalTimeoutTransport, total_timeout

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
_clients: dict[str, httpx.Client] = {}


def client() -> httpx.Client:
    """The client of this process for the URL in force; safe in threads, its connections are shared."""
    url = conf().sandbox_url
    with _lock:
        if url not in _clients:
            # more than the activity threads of a worker, so that none waits for a connection
            limits = httpx.Limits(max_connections=1100, max_keepalive_connections=64)
            _clients[url] = httpx.Client(
                base_url=url, transport=TotalTimeoutTransport(limits), trust_env=False
            )
        return _clients[url]


def post(dependency: str, what: str, body: dict[str, Any]) -> EffectResult:
    """POST /<dependency>/<what> with the idempotency key of the body, also as a header.

    Raises ApplicationError: DependencyUnavailable (retryable) for what may pass, a Refusal or UndoRefused
    (non-retryable) for what will not.
    """
    headers = {"Idempotency-Key": body.get("undo_key") or body["key"]}
    seconds = time_left(conf().gateway_timeout)
    timeout = httpx.Timeout(seconds, connect=min(1.0, seconds))
    try:
        with total_timeout(seconds):
            response = client().post(f"/{dependency}/{what}", json=body, headers=headers, timeout=timeout)
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
    message = f"{dependency}: {str((answer or {}).get('detail', ''))[:500]}"
    if (
        what == "undo"
    ):  # refused once it is refused for good, whatever the reason: only an operator can settle it
        return ApplicationError(message, type=UNDO_REFUSED, non_retryable=True)
    if code == "key_reused":  # something stands under the key, so this says nothing of what happened
        return ApplicationError(message, type=REFUSALS[code], non_retryable=True)
    # a business refusal is an ordinary answer, nothing for the worker's log
    return effect_refused(message, type=REFUSALS[code], category=ApplicationErrorCategory.BENIGN)
