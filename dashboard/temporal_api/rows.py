"""Rows: a run as lists show it, and the payloads that it consists of as people may read them.

Mapped by hand from what the server sends: the SDK's own class raises for a status that it does not know,
which would take the whole page with it. Payloads are redacted; one that cannot be decoded is shown as what it
is.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast
from urllib.parse import quote

from django.urls import reverse
from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.common.v1 import Payload
from temporalio.api.workflow.v1 import WorkflowExecutionInfo
from temporalio.client import Client
from temporalio.common import RawValue

from dashboard import extend
from dashboard.access import Subject
from dashboard.query.query import condition_of
from dashboard.states import STATES, STATUS_NAMES, Look
from dashboard.temporal_api.budget import CELL_BYTES, OFF_LOOP, Budget
from workers.client.attributes import TENANT_ID
from workers.contracts import DECIMALS, Money
from workers.payloads.errors import PayloadOversized
from workers.payloads.limits import at_most
from workers.payloads.redaction import redact, redact_named

logger = logging.getLogger(__name__)

PLAIN = (b"json/plain", b"binary/null")
# What Django leaves as it is in a path (RFC 3986 sub-delimiters and more); a test compares with reverse().
PATH_SAFE = "!$&'()*+,;=/~:@"
OWN_MEMO = "signalbox_"
MOST_VALUES = 50  # of one kind on a page, such as the arguments of a workflow


@dataclass(frozen=True, slots=True)
class Undecodable:
    """A payload that this console cannot read. `size` is in bytes."""

    encoding: str
    size: int

    def __str__(self) -> str:
        return f"unreadable: {self.encoding}, {self.size} bytes"


@dataclass(frozen=True, slots=True)
class TooLarge(Undecodable):
    """A payload with more bytes than a page takes, or than it still takes. `size`: how many there are at
    least."""

    def __str__(self) -> str:
        return f"too large to show here: at least {self.size:,} bytes"


def _undecodable(payload: Payload) -> Undecodable:
    encoding = payload.metadata.get("encoding", b"no encoding").decode("utf-8", "replace")
    return Undecodable(encoding[:100], len(payload.data))


def _plain(payload: Payload) -> Any:
    """A payload that no codec needs to touch."""
    if payload.metadata.get("encoding") == b"binary/null":
        return None
    try:
        return json.loads(payload.data)
    except (ValueError, RecursionError):
        return _undecodable(payload)


async def _unpacked(client: Client, payload: Payload, limit: int) -> Payload | Undecodable:
    """Through the codec of the client. Whatever that raises is about this payload alone."""
    if payload.metadata.get("encoding") in PLAIN:
        return payload
    try:
        with at_most(limit):
            # Raw: a page shows the JSON, whatever types its tags would make of it in a worker.
            [raw] = await client.data_converter.decode([payload], [RawValue])
    except PayloadOversized as error:
        return TooLarge(_undecodable(payload).encoding, max(error.limit, len(payload.data)))
    except Exception:  # whatever a codec raises is about this payload alone, and the page goes on
        return _undecodable(payload)
    return cast(RawValue, raw).payload


def _converted(client: Client, payload: Payload) -> Any:
    """The value, redacted."""
    if payload.metadata.get("encoding") in PLAIN:
        value = _plain(payload)
    else:
        try:
            value = client.data_converter.payload_converter.from_payload(payload)
        except Exception:  # the same
            value = _undecodable(payload)
    return value if isinstance(value, Undecodable) else redact(value)


async def _value(client: Client, payload: Payload, budget: Budget) -> Any:
    limit = min(budget.left, budget.largest)
    raw = payload if len(payload.data) > limit else await _unpacked(client, payload, limit)
    size = raw.size if isinstance(raw, Undecodable) else len(raw.data)
    if size > limit and not isinstance(raw, TooLarge):
        return TooLarge(_undecodable(payload).encoding, max(limit, len(payload.data)))
    budget.left -= min(size, limit)
    if isinstance(raw, Undecodable):
        return raw
    return _converted(client, raw) if size < OFF_LOOP else await asyncio.to_thread(_converted, client, raw)


async def decode(client: Client, payloads: Iterable[Payload], budget: Budget | None = None) -> list[Any]:
    """The values, in order and redacted; `Undecodable` stands for each that cannot be read, `TooLarge` for
    each that the budget (by default a page's) does not take. Never raises for a payload."""
    budget = budget or Budget()
    return [await _value(client, payload, budget) for payload in payloads]


async def _as_text(payload: Payload, value: Any, limit: int) -> str:
    """A decoded value as text for a page; what was packed may be large, however little was sent."""
    if payload.metadata.get("encoding") in PLAIN and len(payload.data) < OFF_LOOP:
        return shorten([value], limit)[0]
    return (await asyncio.to_thread(shorten, [value], limit))[0]


async def texts(client: Client, payloads: Sequence[Payload], budget: Budget, limit: int = 4000) -> list[str]:
    """The values as texts for a page, each decoded, cut and let go before the next."""
    out = []
    for payload in payloads[:MOST_VALUES]:
        [value] = await decode(client, [payload], budget)
        out.append(await _as_text(payload, value, limit))
    more = len(payloads) - MOST_VALUES
    return [*out, f"… and {more:,} more"] if more > 0 else out


def named(names: Iterable[str], values: Iterable[Any]) -> dict[str, Any]:
    """Decoded values under their names, which say too what has to be hidden."""
    pairs = zip(names, values, strict=True)
    return {name: item if isinstance(item, Undecodable) else redact_named(name, item) for name, item in pairs}


def shorten(values: Sequence[Any], limit: int = 4000) -> list[str]:
    """Each value as indented JSON for a page, cut at `limit` characters with a word on what was cut."""
    out = []
    for value in values:
        text = str(value) if isinstance(value, Undecodable) else _json(value)
        more = len(text) - limit
        out.append(text if more <= 0 else f"{text[:limit]}\n… and {more:,} more characters")
    return out


def _json(value: Any) -> str:
    try:
        return json.dumps(value, indent=2, ensure_ascii=False, default=str)
    except (ValueError, RecursionError):
        return "too deep to be shown"


@dataclass(frozen=True, slots=True)
class Row:
    """One run. `status` is Temporal's number; `condition` is None where only the status is known; `tone` and
    `word` are what is shown. `beside_id`: label and value of the column that apps registered to stand there,
    empty where there is none. `attributes` are decoded, and of the memo what lists show; times are UTC."""

    workflow_id: str
    run_id: str
    workflow_type: str
    status: int
    status_name: str
    condition: str | None
    tone: str
    word: str
    stage: str
    waiting_for: tuple[str, ...]
    deadline: datetime | None
    amount: Money | None
    beside_id: tuple[str, str]
    namespace: str
    attributes: dict[str, Any]
    memo: dict[str, Any]
    start_time: datetime | None
    close_time: datetime | None
    url: str
    queue: str = ""

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


def run_url(start: str, workflow_id: str, run_id: str) -> str:
    """The address of a run's page below `start`, the address of its list. Like reverse(), which takes 20
    times as long and would be called for each of 100 rows."""
    segments = f"{quote(workflow_id, safe='')}/{quote(run_id, safe='')}/"
    return start + quote(segments, safe=PATH_SAFE)


def subject_of(row: Row) -> Subject:
    """The run as something to authorise."""
    tenant = row.attributes.get(TENANT_ID.name)
    return Subject(row.namespace, row.workflow_id, row.run_id, tenant if isinstance(tenant, str) else None)


def amount_of(workflow_type: str, attributes: Mapping[str, Any], memo: Mapping[str, Any]) -> Money | None:
    """The amount of a run in minor units, where an app has registered which attribute holds it."""
    money = extend.moneys.get(workflow_type)
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


def _beside_id(workflow_type: str, attributes: Mapping[str, Any], memo: Mapping[str, Any]) -> tuple[str, str]:
    for column in extend.columns.values():
        if column.beside_id and column.workflow_type in ("", workflow_type):
            value = memo.get(column.key) if column.source == "memo" else attributes.get(column.key)
            hidden = value if column.source == "memo" else redact_named(column.key, value)
            return (column.label, _text(hidden)) if value is not None else ("", "")
    return "", ""


def status_name(status: int) -> str:
    """Temporal's name of a status, as queries use it; of one that this console does not know, `Status 8`."""
    return STATUS_NAMES.get(status) or f"Status {status}"


def _look(condition: str | None, status: int) -> Look:
    if condition:
        return STATES["condition"][condition]
    return STATES["status"].get(status) or Look("rest", f"Status {status}")


def _row(namespace: str, info: WorkflowExecutionInfo, memo: dict[str, Any], start: str) -> Row:
    """The row of one run, its memo already decoded."""
    attributes = attributes_of(info.search_attributes.indexed_fields)
    workflow_type, status = info.type.name, int(info.status)
    condition = condition_of(workflow_type, status, attributes)
    shown = _look(condition, status)
    deadline = attributes.get("Deadline")
    return Row(
        workflow_id=info.execution.workflow_id,
        run_id=info.execution.run_id,
        workflow_type=workflow_type,
        status=status,
        status_name=status_name(status),
        condition=condition,
        tone=shown.tone,
        word=shown.word,
        stage=_text(attributes.get("Stage")),
        waiting_for=_texts(attributes.get("WaitingFor")),
        deadline=deadline if isinstance(deadline, datetime) else None,
        amount=amount_of(workflow_type, attributes, memo),
        beside_id=_beside_id(workflow_type, attributes, memo),
        namespace=namespace,
        attributes=attributes,
        memo=memo,
        start_time=moment(info.start_time),
        close_time=moment(info.close_time),
        url=run_url(start, info.execution.workflow_id, info.execution.run_id),
        queue=info.task_queue,
    )


def _listed_memo() -> set[str]:
    """Names of the memo entries that lists show or count by."""
    shown = {column.key for column in extend.columns.values() if column.source == "memo"}
    return {*shown, *(money.currency_memo for money in extend.moneys.values())}


async def read_rows(
    client: Client, infos: Iterable[WorkflowExecutionInfo], budget: Budget | None = None
) -> list[Row]:
    """Rows of what a list call (or a describe) of the client's namespace answered. Of the memo only what
    lists show is read; an entry that cannot be decoded, or is too large for a cell, marks its place."""
    start, listed = reverse("workflows", args=[client.namespace]), _listed_memo()
    budget = budget or Budget(largest=CELL_BYTES)
    out = []
    for info in infos:
        fields = info.memo.fields
        names = [name for name in listed if name in fields]
        values = await decode(client, (fields[name] for name in names), budget) if names else []
        try:
            out.append(_row(client.namespace, info, named(names, values), start))
        except Exception:  # one odd row must not take the page
            logger.exception("The row of workflow %s could not be read.", info.execution.workflow_id)
            out.append(_row(client.namespace, _bare(info), {}, start))
    return out


def _bare(info: WorkflowExecutionInfo) -> WorkflowExecutionInfo:
    """A run of which nothing is known but its ids, type, status and tenant."""
    bare = WorkflowExecutionInfo(status=info.status, execution=info.execution, type=info.type)
    tenant = info.search_attributes.indexed_fields.get(TENANT_ID.name)
    if tenant:  # without it, the run would be hidden from the viewers of its tenant
        bare.search_attributes.indexed_fields[TENANT_ID.name].CopyFrom(tenant)
    return bare


async def memo_texts(client: Client, info: WorkflowExecutionInfo, budget: Budget) -> list[tuple[str, str]]:
    """The whole memo of one run as names and texts. What our own launches remember is for them, not for
    people."""
    fields = info.memo.fields
    names = sorted(name for name in fields if not name.startswith(OWN_MEMO))
    out = []
    for name in names[:MOST_VALUES]:
        [value] = named([name], await decode(client, [fields[name]], budget)).values()
        out.append((name, await _as_text(fields[name], value, 1000)))
    more = len(names) - MOST_VALUES
    return [*out, ("…", f"and {more:,} more")] if more > 0 else out
