"""What leaves this process: nothing named like a secret, and nothing that Temporal is too small for.

Both are checked while a value becomes a payload, on its plain JSON. In workflow code that is inside the call
that sends it, so that a refusal fails the workflow; anywhere later it would repeat the workflow task for
ever.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pydantic_core import from_json, to_json
from temporalio import activity, workflow
from temporalio.api.common.v1 import Payload

from workers.payloads.errors import PayloadTooLarge, SensitiveField
from workers.payloads.redaction import MASK, SENSITIVE, normal, normals
from workers.payloads.tags import STAND_INS


def _place() -> str:
    """Which code is sending."""
    if workflow.in_workflow():
        return f"workflow {workflow.info().workflow_type}"
    return f"activity {activity.info().activity_type}" if activity.in_activity() else "this process"


@dataclass(frozen=True)
class Policy:
    """The settings PAYLOAD_SECRETS, REDACTED_FIELDS and PAYLOAD_LIMIT_BYTES (0: no limit).

    external_threshold: bytes from which payloads go to external storage, and do not count.
    keep: stores a secret and returns the reference that stands for it.
    """

    secrets: str = "refuse"
    redacted_fields: tuple[str, ...] = ()
    limit: int = 0
    external_threshold: int = sys.maxsize
    keep: Callable[[Any], str] | None = None

    @cached_property
    def _hidden(self) -> frozenset[str]:
        return normals((*SENSITIVE, *self.redacted_fields))

    @cached_property
    def _sensitive_key(self) -> re.Pattern[bytes]:
        """A sensitive key of compact JSON, by the rule of `normal`, unless its value hides already.

        A quote inside of a string is escaped, so what this finds is a key.
        """
        spelled = "|".join('[^a-z0-9"]*'.join(map(re.escape, name)) for name in sorted(self._hidden))
        hides = "|".join(["null\\b", *(re.escape(f'"{word}') for word in STAND_INS)])
        return re.compile(f'"[^a-z0-9"]*(?:{spelled})[^a-z0-9"]*":(?!{hides})'.encode(), re.IGNORECASE)

    def sensitive(self, data: bytes) -> bool:
        if self.secrets == "allow":
            return False
        return self._sensitive_key.search(data) is not None

    def redact_json(self, data: bytes) -> bytes:
        """JSON that may go out in place of `data`. Raises SensitiveField."""
        tree = from_json(data)
        safe = replaced(tree, self._hidden, self._instead)
        # Equal when it was only text that looks like JSON: text that a person typed is not a field.
        return data if safe == tree else to_json(safe)

    def _instead(self, path: str, value: Any) -> str:
        """What goes out in place of a sensitive value."""
        if self.secrets == "mask":
            return MASK
        if self.secrets == "reference" and self.keep is not None and not workflow.in_workflow():
            return self.keep(value)
        raise SensitiveField(
            f"{_place()} would send {path}, which is named like a secret. Leave it out, pass a "
            f"reference to it, or choose otherwise by PAYLOAD_SECRETS (now {self.secrets})."
        )

    def check_size(self, values: Sequence[Any], payloads: list[Payload]) -> list[Payload]:
        """`payloads`, if they are small enough together. Raises PayloadTooLarge."""
        if not self.limit:
            return payloads
        sizes = [size if (size := len(payload.data)) < self.external_threshold else 0 for payload in payloads]
        if sum(sizes) <= self.limit:
            return payloads
        largest = max(range(len(sizes)), key=sizes.__getitem__)
        raise PayloadTooLarge(
            f"{_place()} would send {sum(sizes):,} bytes, most of them in value {largest + 1} of "
            f"{len(sizes)}, a {type(values[largest]).__name__}; PAYLOAD_LIMIT_BYTES is {self.limit:,}. "
            "Send less, or let large payloads be stored apart by CLAIM_CHECK_BYTES."
        )


def _hides(value: Any) -> bool:
    return value is None or (isinstance(value, str) and value.startswith(STAND_INS))


def replaced(
    tree: Any, hidden: frozenset[str], instead: Callable[[str, Any], str], path: tuple[str, ...] = ()
) -> Any:
    """Parsed JSON with every sensitive value replaced by `instead("lines.0.password", value)`."""
    if isinstance(tree, list):
        return [replaced(item, hidden, instead, (*path, str(at))) for at, item in enumerate(tree)]
    if not isinstance(tree, dict):
        return tree
    return {
        name: instead(".".join((*path, name)), item)
        if normal(name) in hidden and not _hides(item)
        else replaced(item, hidden, instead, (*path, name))
        for name, item in tree.items()
    }
