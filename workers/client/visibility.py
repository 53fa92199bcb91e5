"""Values in query text of the visibility store: quoted, typed, compared.

There are no bind parameters, so quoting is all there is. Experiments with the SQL stores (server 1.29)
gave the rules: a single quote is doubled and so is a backslash; but the server then rewrites `"`,
backslash and control characters inside its own SQL and strips single quotes at both ends, so no literal
ever matches them. Where a value holds such a character, `compare()` asks for what stands before it and
leaves the exact comparison to us.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from math import isfinite
from typing import Any

from temporalio.api.enums.v1 import IndexedValueType as Indexed

# Attributes that every server has, with the types by which values are written.
SYSTEM: dict[str, int] = {
    **dict.fromkeys(
        (
            "WorkflowId",
            "RunId",
            "WorkflowType",
            "ExecutionStatus",
            "TaskQueue",
            "ParentWorkflowId",
            "RootWorkflowId",
        ),
        Indexed.INDEXED_VALUE_TYPE_KEYWORD,
    ),
    **dict.fromkeys(("StartTime", "ExecutionTime", "CloseTime"), Indexed.INDEXED_VALUE_TYPE_DATETIME),
    **dict.fromkeys(("HistoryLength", "HistorySizeBytes"), Indexed.INDEXED_VALUE_TYPE_INT),
}
NULL_TESTS = ("IS NULL", "IS NOT NULL")
RANGES = ("=", "!=", ">", ">=", "<", "<=", *NULL_TESTS)
OPERATORS: dict[int, tuple[str, ...]] = {
    Indexed.INDEXED_VALUE_TYPE_KEYWORD: ("=", "!=", "STARTS_WITH", ">", ">=", "<", "<=", *NULL_TESTS),
    Indexed.INDEXED_VALUE_TYPE_INT: RANGES,
    Indexed.INDEXED_VALUE_TYPE_DOUBLE: RANGES,
    Indexed.INDEXED_VALUE_TYPE_DATETIME: RANGES,
    Indexed.INDEXED_VALUE_TYPE_BOOL: ("=", "!=", *NULL_TESTS),
    Indexed.INDEXED_VALUE_TYPE_TEXT: ("=", "!=", *NULL_TESTS),
    Indexed.INDEXED_VALUE_TYPE_KEYWORD_LIST: ("=", "!=", *NULL_TESTS),
}
REWRITTEN = re.compile(r"""["\\\b\n\r\t]""")


class Unusable(Exception):
    """A filter that must not reach the server; `message` is a sentence for the person who typed it."""

    def __init__(self, message: str) -> None:
        self.message = message
        super().__init__(message)


def quote(value: str) -> str:
    """A string literal. Refuses the null character, which ends a statement in some stores."""
    if "\x00" in value:
        raise Unusable("The text holds a null character, which no attribute can hold.")
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"


def any_of(values: list[str]) -> str:
    """`('a', 'b')` for IN."""
    return "(" + ", ".join(quote(value) for value in values) + ")"


def _literal(value: str, kind: int) -> str:
    """A value as its type writes it; raises Unusable with what is wrong."""
    text = value.strip()
    match kind:
        case Indexed.INDEXED_VALUE_TYPE_INT:
            if not re.fullmatch(r"[+-]?\d{1,18}", text, re.ASCII):
                raise Unusable(f"“{value}” is not a whole number, for example 3.")
            return str(int(text))
        case Indexed.INDEXED_VALUE_TYPE_DOUBLE:
            return _number(text)
        case Indexed.INDEXED_VALUE_TYPE_BOOL:
            if text.lower() not in ("true", "false"):
                raise Unusable("Write true or false.")
            return text.lower()
        case Indexed.INDEXED_VALUE_TYPE_DATETIME:
            return quote(moment(text).isoformat().replace("+00:00", "Z"))
        case _:
            return quote(value)


def _number(text: str) -> str:
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not isfinite(number) or len(text) > 40 or "_" in text:
        raise Unusable(f"“{text}” is not a number; write it with a point: 12480.50.")
    return f"{number:.10f}".rstrip("0").rstrip(".")


def moment(text: str) -> datetime:
    """A time in UTC from RFC 3339, a date, or what a date field of a browser sends; without a zone it is
    UTC."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise Unusable(f"“{text}” is not a time; write it as 2026-11-21 or 2026-11-21T14:30.") from None
    try:
        return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    except OverflowError:
        raise Unusable(f"“{text}” is not a time that a computer can hold.") from None


@dataclass(frozen=True, slots=True)
class Comparison:
    """One attribute compared with one value. `clause` may match more than the filter; then `exact`
    is true and `matches()` has the last word on each row."""

    name: str
    operator: str
    value: str
    clause: str
    exact: bool = False

    def matches(self, actual: Any) -> bool:
        """Whether a row's own value is the one of the filter; an unset value never is."""
        if actual is None:
            return False
        values = actual if isinstance(actual, list) else [str(actual)]
        if self.operator == "STARTS_WITH":
            return any(item.startswith(self.value) for item in values)
        return (self.value in values) == (self.operator == "=")


def _plain_prefix(value: str) -> str:
    """What of a text the server compares as it is: up to the first character that it rewrites or
    strips."""
    found = REWRITTEN.search(value)
    head = value[: found.start()] if found else value.rstrip("'") if value.endswith("'") else value
    return "" if head.startswith("'") else head.rstrip("'")


def compare(name: str, operator: str, value: str, kind: int) -> Comparison:
    """`name operator value` as a clause, the value written by its type. Raises Unusable."""
    if operator not in OPERATORS.get(kind, ()):
        raise Unusable(f"{name} cannot be compared by {operator or 'nothing'}.")
    if operator in NULL_TESTS:
        return Comparison(name, operator, "", f"`{name}` {operator}")
    literal = _literal(value, kind)
    if (
        not literal.startswith("'")
        or kind == Indexed.INDEXED_VALUE_TYPE_DATETIME
        or _plain_prefix(value) == value
    ):
        return Comparison(name, operator, value, f"`{name}` {operator} {literal}")
    if operator not in ("=", "!=", "STARTS_WITH") or kind == Indexed.INDEXED_VALUE_TYPE_TEXT:
        raise Unusable(
            "The server cannot compare text with such quotes, backslashes or line breaks that way."
        )
    head = _plain_prefix(value)
    narrow = kind == Indexed.INDEXED_VALUE_TYPE_KEYWORD and operator != "!=" and head
    clause = f"`{name}` STARTS_WITH {quote(head)}" if narrow else f"`{name}` IS NOT NULL"
    return Comparison(name, operator, value, clause, exact=True)


OPEN_RUNS = "CloseTime IS NULL"
"""The clause of runs that have not ended: servers that can pause a run give it a status of its own, whose
name others refuse."""


def both(*clauses: str) -> str:
    """The clauses joined by AND, each in parentheses; empty ones are left out."""
    return " AND ".join(f"({clause})" for clause in clauses if clause)
