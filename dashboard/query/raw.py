"""Query text as a person typed it: what may stand in parentheses beside other clauses."""

from __future__ import annotations

import re

from workers.client.visibility import Unusable

MAX_RAW = 4000
TOKEN = re.compile(
    r"""(?P<string>'(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.|"")*"|`[^`]*`)|(?P<bad>['"`;\x00]|--|/\*|\#)|(?P<paren>[()])"""
    r"""|(?P<word>\w+)|(?P<rest>.)""",
    re.DOTALL,
)
CLAUSES = {
    "order": "ORDER BY cannot be used here: the server lists open runs first, then the newest.",
    "group": "GROUP BY cannot be used here: the counts above the list are the groups.",
    "limit": "LIMIT cannot be used here: choose the page size below the list.",
    **dict.fromkeys(
        ("union", "select", "having", "into", "from"), "Write conditions only, such as Stage = 'charging'."
    ),
}


def check_raw(raw: str) -> str:
    """The text, stripped. Raises Unusable where it could leave the parentheses around it."""
    if len(raw) > MAX_RAW:
        raise Unusable(f"The query is longer than {MAX_RAW} characters.")
    depth = 0
    for found in TOKEN.finditer(raw):
        kind, text = found.lastgroup, found.group()
        if kind == "bad":
            raise Unusable(
                f"A quote is not closed: {text}"
                if text in "'\"`"
                else f"{text!r} can only stand inside quotes."
            )
        if kind == "word" and text.lower() in CLAUSES:
            raise Unusable(CLAUSES[text.lower()])
        depth += {"(": 1, ")": -1}.get(text, 0) if kind == "paren" else 0
        if depth < 0:
            raise Unusable("A closing parenthesis has no opening one.")
    if depth:
        raise Unusable("A parenthesis is not closed.")
    return raw.strip()
