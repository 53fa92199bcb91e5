"""The witness: an SQLite file with every effect and undo that ever happened, each at most once.

Every write is one transaction begun with BEGIN IMMEDIATE, so that a service killed at any line has either
done an effect and kept its answer, or done nothing.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from orders.sandbox.schemas import EffectBody, Fault, Service, UndoBody

SCHEMA = """
CREATE TABLE IF NOT EXISTS effects (
    id INTEGER PRIMARY KEY, service TEXT NOT NULL, key TEXT NOT NULL, order_id TEXT NOT NULL,
    at TEXT NOT NULL, state TEXT NOT NULL CHECK (state IN ('done', 'undone', 'tombstone')),
    body_hash TEXT NOT NULL, reference TEXT NOT NULL, amount_minor INTEGER NOT NULL, currency TEXT NOT NULL,
    detail TEXT NOT NULL, UNIQUE (service, key)
);
CREATE INDEX IF NOT EXISTS effects_order ON effects (order_id);
CREATE TABLE IF NOT EXISTS undos (
    id INTEGER PRIMARY KEY, service TEXT NOT NULL, undo_key TEXT NOT NULL, key TEXT NOT NULL,
    order_id TEXT NOT NULL, at TEXT NOT NULL, reference TEXT NOT NULL, reason TEXT NOT NULL,
    detail TEXT NOT NULL, undid INTEGER NOT NULL, UNIQUE (service, undo_key)
);
CREATE TABLE IF NOT EXISTS faults (service TEXT PRIMARY KEY, fault TEXT NOT NULL);
"""
PREFIXES = {"payments": "CH", "stock": "RS", "carrier": "PA", "freight": "FR", "notifications": "NO"}


class Refused(Exception):
    """A service says no. `code` names why, `status` is the HTTP status."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail = status, code, detail


@dataclass(frozen=True)
class Answer:
    """`created`: the effect happened now; otherwise it is the stored answer to the same key."""

    reference: str
    detail: str
    created: bool


def _now() -> str:
    return datetime.now(UTC).isoformat()


class Ledger:
    """One file, any number of threads: each operation has a connection of its own."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        with self._writing() as db:
            for statement in SCHEMA.split(";"):
                db.execute(statement)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        db = sqlite3.connect(self._path, timeout=5, isolation_level=None)
        db.row_factory = sqlite3.Row
        try:
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=NORMAL")
            yield db
        finally:
            db.close()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._open() as db:
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
            except BaseException:
                db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")

    def effect(self, service: Service, body: EffectBody) -> Answer:
        """Do it, or repeat the answer of the same key. Raises Refused: 409 another body, 410 a tombstone."""
        digest = hashlib.sha256(body.model_dump_json().encode()).hexdigest()
        with self._writing() as db:
            known = db.execute(
                "SELECT * FROM effects WHERE service=? AND key=?", (service, body.key)
            ).fetchone()
            if known and known["state"] != "done":
                raise Refused(410, "withdrawn", "This key was undone; its effect can no longer happen.")
            if known and known["body_hash"] != digest:
                raise Refused(409, "key_reused", "This key was used for something else.")
            if known:
                return Answer(known["reference"], known["detail"], created=False)
            detail = _describe(body)
            row = (
                service,
                body.key,
                body.order_id,
                _now(),
                "done",
                digest,
                body.amount_minor,
                body.currency,
                detail,
            )
            reference = self._insert(db, row)
        return Answer(reference, detail, created=True)

    @staticmethod
    def _insert(db: sqlite3.Connection, row: tuple[Any, ...]) -> str:
        # only fixed words are ever put into a statement; values are bound
        columns = "service, key, order_id, at, state, body_hash, amount_minor, currency, detail, reference"
        statement = f"INSERT INTO effects ({columns}) VALUES (?,?,?,?,?,?,?,?,?,'')"  # noqa: S608
        cursor = db.execute(statement, row)
        reference = f"{PREFIXES[row[0]]}-{cursor.lastrowid:06d}"
        db.execute("UPDATE effects SET reference=? WHERE id=?", (reference, cursor.lastrowid))
        return reference

    def undo(self, service: Service, body: UndoBody) -> Answer:
        """Undo at most once and leave a tombstone under the step's key, also where nothing happened."""
        with self._writing() as db:
            known = db.execute(
                "SELECT * FROM undos WHERE service=? AND undo_key=?", (service, body.undo_key)
            ).fetchone()
            if known and known["key"] != body.key:
                raise Refused(409, "key_reused", "This undo key was used for another step.")
            if known:
                return Answer(known["reference"], known["detail"], created=False)
            answer = self._undo(db, service, body)
            row = (service, body.undo_key, body.key, body.order_id, _now(), answer.reference, body.reason)
            db.execute(
                "INSERT INTO undos (service, undo_key, key, order_id, at, reference, reason, detail, undid)"
                " VALUES (?,?,?,?,?,?,?,?,?)",
                (*row, answer.detail, bool(answer.reference)),
            )
        return answer

    def _undo(self, db: sqlite3.Connection, service: Service, body: UndoBody) -> Answer:
        """The undo itself; its answer has a reference when there was something to undo."""
        effect = db.execute("SELECT * FROM effects WHERE service=? AND key=?", (service, body.key)).fetchone()
        if not effect:
            row = (service, body.key, body.order_id, _now(), "tombstone", "", 0, "", "never happened")
            self._insert(db, row)
            return Answer("", "nothing to undo", created=True)
        if effect["state"] != "done":
            return Answer("", "already undone", created=True)
        db.execute("UPDATE effects SET state='undone' WHERE id=?", (effect["id"],))
        return Answer(f"{effect['reference']}/U", f"undid {effect['reference']}", created=True)

    def faults(self) -> dict[str, Fault]:
        with self._open() as db:
            stored = {row["service"]: row["fault"] for row in db.execute("SELECT * FROM faults")}
        return {s: Fault.model_validate_json(stored[s]) if s in stored else Fault() for s in Service}

    def set_fault(self, service: Service, fault: Fault) -> None:
        with self._writing() as db:
            db.execute("INSERT OR REPLACE INTO faults VALUES (?, ?)", (service, fault.model_dump_json()))

    def rows(self, table: str, order_id: str | None, limit: int = 1000) -> list[dict[str, Any]]:
        """The newest rows of `effects` or `undos`, of one order or of all."""
        assert table in {"effects", "undos"}
        where, values = ("WHERE order_id=?", (order_id,)) if order_id else ("", ())
        with self._open() as db:
            statement = f"SELECT * FROM {table} {where} ORDER BY id DESC LIMIT ?"  # noqa: S608
            found = db.execute(statement, (*values, limit))
            return [dict(row) for row in found]

    def sums(self, order_id: str | None = None) -> list[dict[str, Any]]:
        """Minor units by currency: charged ever, refunded, and what stands; of one order or of all."""
        where, values = ("AND order_id=?", (order_id,)) if order_id else ("", ())
        with self._open() as db:
            found = db.execute(
                "SELECT currency, SUM(amount_minor) AS charged,"  # noqa: S608
                " SUM(CASE WHEN state='undone' THEN amount_minor ELSE 0 END) AS refunded,"
                " SUM(CASE WHEN state='done' THEN amount_minor ELSE 0 END) AS standing, COUNT(*) AS charges"
                f" FROM effects WHERE service='payments' AND state<>'tombstone' {where}"
                " GROUP BY currency ORDER BY currency",
                values,
            )
            return [dict(row) for row in found]

    def standing(self, order_id: str | None = None) -> dict[str, dict[str, int]]:
        """By order: how many effects of each service stand, that is, happened and were not undone."""
        where, values = ("AND order_id=?", (order_id,)) if order_id else ("", ())
        with self._open() as db:
            found = db.execute(
                "SELECT order_id, service, SUM(state='done') AS n FROM effects"  # noqa: S608 - a constant clause
                f" WHERE service<>'notifications' {where} GROUP BY order_id, service",
                values,
            )
            by_order: dict[str, dict[str, int]] = {}
            for row in found:
                by_order.setdefault(row["order_id"], {})[row["service"]] = row["n"]
        return by_order


def balanced(standing: dict[str, int]) -> bool:
    """Goods, money and parcel of an order stand, once each, or none does. An order on its way is not yet."""
    parcels = standing.get("carrier", 0) + standing.get("freight", 0)
    return (standing.get("stock", 0), standing.get("payments", 0), parcels) in {(0, 0, 0), (1, 1, 1)}


def _describe(body: EffectBody) -> str:
    if body.amount_minor:
        return f"{body.amount_minor} minor {body.currency}"
    return ", ".join(f"{item.quantity} x {item.sku}" for item in body.items[:5]) or body.note
