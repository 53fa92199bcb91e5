"""Rows: a run as lists show it, mapped by hand from what the server sends.

The SDK's own class raises for a status that it does not know, which would take the whole page with it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from django.urls import reverse
from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.common.v1 import Payload
from temporalio.api.workflow.v1 import WorkflowExecutionInfo
from temporalio.client import Client

from dashboard import extend
from dashboard.converters import TemporalId
from dashboard.reads.payloads import decode, named
from dashboard.visibility import conditions
from workers.contracts import DECIMALS, Money

# What Django leaves as it is in a path (RFC 3986 sub-delimiters and more); a test compares with
# reverse().
PATH_SAFE = "!$&'()*+,;=/~:@"
OWN_MEMO = "signalbox_"


@dataclass(frozen=True, slots=True)
class Row:
    """One run. `status` is Temporal's number; `condition` is None where only that can be said; `s` and
    `word` are what is shown. `attributes` and `memo` are decoded; times are UTC."""

    workflow_id: str
    run_id: str
    workflow_type: str
    status: int
    status_name: str
    condition: str | None
    s: str
    word: str
    stage: str
    waiting_for: tuple[str, ...]
    deadline: datetime | None
    amount: Money | None
    customer: str
    attributes: dict[str, Any]
    memo: dict[str, Any]
    start_time: datetime | None
    close_time: datetime | None
    url: str

    @property
    def open(self) -> bool:
        """Still running, as far as this console can tell."""
        return self.close_time is None


def moment(stamp: Timestamp) -> datetime | None:
    """A time in UTC; None for the zero that protobuf has for an unset one."""
    return stamp.ToDatetime(tzinfo=UTC) if stamp.seconds or stamp.nanos else None


def _attribute(payload: Payload) -> Any:
    """A search attribute: always plain JSON, its type in the metadata. A value we cannot read counts as
    unset."""
    try:
        value = json.loads(payload.data.decode()) if payload.data else None  # str is read twice as fast
        if value is not None and payload.metadata.get("type") == b"Datetime":
            return datetime.fromisoformat(value).astimezone(UTC)
    except (ValueError, TypeError, OverflowError):
        return None
    return value


def attributes_of(fields: Mapping[str, Payload]) -> dict[str, Any]:
    """Decoded search attributes by name; unset ones are left out."""
    decoded = ((name, _attribute(payload)) for name, payload in fields.items())
    return {name: value for name, value in decoded if value is not None}


def run_url(workflow_id: str, run_id: str, start: str = "") -> str:
    """The address of a run's page. Like reverse(), which is too slow for each of 100 rows; `start` is
    the list's."""
    to_url = TemporalId().to_url
    return (start or reverse("workflows")) + quote(f"{to_url(workflow_id)}/{to_url(run_id)}/", safe=PATH_SAFE)


def amount_of(workflow_type: str, attributes: Mapping[str, Any], memo: Mapping[str, Any]) -> Money | None:
    """The amount of a run in minor units, where an app has registered which attribute holds it."""
    money = extend.moneys().get(workflow_type)
    value = attributes.get(money.attribute) if money else None
    if money is None or isinstance(value, bool) or not isinstance(value, int | float):
        return None
    currency = str(memo.get(money.currency_memo) or "")
    return Money(minor=round(value * 10 ** DECIMALS.get(currency, 2)), currency=currency)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else str(value)


def _texts(value: Any) -> tuple[str, ...]:
    """The values of a list; those of a server where the attribute is no list, too."""
    return tuple(map(_text, value)) if isinstance(value, list) else (_text(value),) if value else ()


def row(info: WorkflowExecutionInfo, memo: dict[str, Any], start: str = "") -> Row:
    """The row of one run, its memo already decoded."""
    attributes = attributes_of(info.search_attributes.indexed_fields)
    workflow_type, status = info.type.name, int(info.status)
    condition = conditions.derive(workflow_type, status, attributes)
    s, word = conditions.shown(condition, status)
    deadline = attributes.get("Deadline")
    return Row(
        workflow_id=info.execution.workflow_id,
        run_id=info.execution.run_id,
        workflow_type=workflow_type,
        status=status,
        status_name=conditions.status_name(status),
        condition=condition,
        s=s,
        word=word,
        stage=_text(attributes.get("Stage")),
        waiting_for=_texts(attributes.get("WaitingFor")),
        deadline=deadline if isinstance(deadline, datetime) else None,
        amount=amount_of(workflow_type, attributes, memo),
        customer=_text(memo.get("customer_name")),
        attributes=attributes,
        memo=memo,
        start_time=moment(info.start_time),
        close_time=moment(info.close_time),
        url=run_url(info.execution.workflow_id, info.execution.run_id, start),
    )


async def read_rows(client: Client, infos: Iterable[WorkflowExecutionInfo]) -> list[Row]:
    """Rows of what a list call (or a describe) answered. A memo entry that cannot be decoded marks its
    place; what our own launches remember is for them, not for people."""
    start = reverse("workflows")
    out = []
    for info in infos:
        fields = info.memo.fields
        names = sorted(name for name in fields if not name.startswith(OWN_MEMO))
        values = await decode(client, (fields[name] for name in names)) if names else []
        out.append(row(info, named(names, values), start))
    return out
