"""What apps registered, loaded as far as it loads: a module with a mistake takes no page with it."""

from __future__ import annotations

from dashboard import extend
from workers.client.attributes import PLATFORM
from workers.payloads.redaction import redact_text
from workers.registry.definitions import Problem
from workers.registry.registry import RegistryError, registry


def load() -> list[Problem]:
    """Import every app's `console.py` and `temporal.py`, once. Returns the mistakes found; what is right is
    registered in spite of them."""
    extend.discover()
    try:
        registry.load()
    except RegistryError as error:
        return [*extend.problems, *error.problems]
    return list(extend.problems)


def sentences() -> list[tuple[str, str]]:
    """The same for a page: where each mistake is, and what it is, in one line."""
    return [(problem.where, " ".join(redact_text(problem.what).split())) for problem in load()]


def attribute_types() -> dict[str, int]:
    """Types of the search attributes that the platform and our own apps declare."""
    load()
    return {key.name: int(key.indexed_value_type) for key in (*PLATFORM, *registry.attributes)}
