"""The sandbox's own page: plain forms to break and heal the services, and what the ledger says."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from django.template.loader import render_to_string

from orders.sandbox.schemas import Fault, Mode, Service

STYLESHEET = Path(__file__).resolve().parent.parent / "static" / "orders" / "sandbox.css"
NEWEST = 30


@cache
def stylesheet() -> str:
    return STYLESHEET.read_text()


def money(minor: int, currency: str) -> str:
    return f"{minor // 100:,}.{minor % 100:02d} {currency}"


def render(ledger: dict[str, Any], faults: dict[str, Fault]) -> str:
    """The page as HTML. `ledger` is what GET /ledger answers."""
    sums = [
        {key: money(row[key], row["currency"]) for key in ("charged", "refunded", "standing")}
        | {"charges": row["charges"]}
        for row in ledger["sums"]
    ]
    uneven = sorted(key for key, order in ledger["orders"].items() if not order["balanced"])
    context = {
        "services": [{"name": service.value, "fault": faults[service]} for service in Service],
        "modes": [(mode.value, mode.value.replace("_", " ")) for mode in Mode],
        "sums": sums,
        "orders": len(ledger["orders"]),
        "uneven": uneven[:50],
        "effects": ledger["effects"][:NEWEST],
        "undos": ledger["undos"][:NEWEST],
    }
    return render_to_string("orders/sandbox.html", context)
