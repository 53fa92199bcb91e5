"""The state tree: any JSON that a workflow gives, as nested lists that fold; capped, as a page must stay
a page."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from dashboard.extend import Panel, register
from workers.contracts import Query

MAX_DEPTH = 8
MAX_NODES = 400
MAX_TEXT = 300  # characters of a value


@dataclass(slots=True)
class Node:
    """A key with a value as text, or with what it holds. `more` counts what was left out."""

    key: str
    text: str = ""
    children: list[Node] = field(default_factory=list)
    more: int = 0


def _scalar(value: Any) -> str:
    text = json.dumps(value) if value is None or isinstance(value, bool) else str(value)
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}…"


def _node(key: str, value: Any, depth: int, budget: list[int]) -> Node:
    budget[0] -= 1
    if not isinstance(value, dict | list):
        return Node(key, _scalar(value))
    items = (
        list(value.items()) if isinstance(value, dict) else [(str(at), item) for at, item in enumerate(value)]
    )
    if not items:
        return Node(key, "{}" if isinstance(value, dict) else "[]")
    if depth >= MAX_DEPTH:
        return Node(key, more=len(items))
    node = Node(key)
    for name, item in items:
        if budget[0] <= 0:
            node.more += 1
        else:
            node.children.append(_node(str(name)[:MAX_TEXT], item, depth + 1, budget))
    return node


def draw(value: Any) -> Node:
    """The tree of a value; its root has no key."""
    return _node("", value, 0, [MAX_NODES])


register(
    Panel(
        query=Query.STATE,
        title="State",
        template="dashboard/panels/state.html",
        draw=lambda run, value: draw(value),
        order=90,
    )
)
