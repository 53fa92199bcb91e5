"""A row of the table, and the table."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

PATH = Path(__file__).with_name("results.json")


@dataclass(frozen=True)
class Row:
    """`target` is the limit in words, None for a figure that only informs (`ok` is None then)."""

    name: str
    figure: float | None
    unit: str
    target: str | None = None
    ok: bool | None = None


def at_most(name: str, figure: float, unit: str, limit: float) -> Row:
    return Row(name, round(figure, 3), unit, f"at most {limit:g}", figure <= limit)


def at_least(name: str, figure: float, unit: str, limit: float) -> Row:
    return Row(name, round(figure, 3), unit, f"at least {limit:g}", figure >= limit)


def measured(name: str, figure: float | None, unit: str) -> Row:
    return Row(name, None if figure is None else round(figure, 3), unit)


def table(rows: list[Row]) -> str:
    """The rows as text in columns."""
    words = {True: "yes", False: "NO", None: ""}
    cells = [("name", "figure", "unit", "target", "ok")]
    for row in rows:
        figure = "-" if row.figure is None else f"{row.figure:,.2f}".rstrip("0").rstrip(".")
        cells.append((row.name, figure, row.unit, row.target or "", words[row.ok]))
    widths = [max(len(line[at]) for line in cells) for at in range(5)]
    lines = [
        f"{n:<{widths[0]}}  {f:>{widths[1]}}  {u:<{widths[2]}}  {t:<{widths[3]}}  {o}"
        for n, f, u, t, o in cells
    ]
    return "\n".join(line.rstrip() for line in lines)


def write(rows: list[Row], path: Path = PATH) -> None:
    path.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
