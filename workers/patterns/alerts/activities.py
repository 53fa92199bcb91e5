"""Alerts: a person is needed. Always a line in the log, and a POST to ALERT_URL where that is set."""

from __future__ import annotations

import asyncio
import hashlib
import logging

import httpx
from django.core.cache import cache
from temporalio import activity

from workers.conf import conf
from workers.contracts.alerts import RAISE_ALERT, Alert

logger = logging.getLogger(__name__)

_TIMEOUT = httpx.Timeout(5, connect=2)  # seconds, well below the activity's
_REMEMBERED = 86_400  # seconds


@activity.defn(name=RAISE_ALERT)
async def raise_alert(alert: Alert) -> None:
    """Log it at ERROR and post it as JSON, with the SHA-256 of its id as Idempotency-Key.

    Raised again under the same id it does nothing, as far as this process's cache knows, and beyond that the
    receiver tells doubles by the key. Raises httpx.HTTPError, to be retried, while the receiver does not take
    it; a receiver that refuses (4xx) is only logged, as trying again would not help.
    """
    key = hashlib.sha256(alert.alert_id.encode()).hexdigest()  # an id may hold what no header may
    known = f"signalbox/alert/{key}"
    sent = await cache.aget(known)
    if sent is None:
        logger.error("ALERT %s (workflow %s): %s", alert.title, alert.workflow_id, alert.detail)
        await cache.aset(known, "logged", _REMEMBERED)
    url = conf().alert_url
    if url and sent != "posted":
        await _post(url, key, alert)
        await cache.aset(known, "posted", _REMEMBERED)


async def _post(url: str, key: str, alert: Alert) -> None:
    async with httpx.AsyncClient(timeout=_TIMEOUT, trust_env=False) as http:
        # more than the timeout of httpx, which is of each read: a receiver that drips must not hold us
        async with asyncio.timeout(10):
            body = alert.model_dump(mode="json")
            response = await http.post(url, json=body, headers={"Idempotency-Key": key})
    if response.status_code in {408, 425, 429} or response.status_code >= 500:
        response.raise_for_status()
    if not response.is_success:
        logger.error("ALERT_URL refused alert %s with %s.", alert.alert_id, response.status_code)
