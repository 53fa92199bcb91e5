"""A form to act with: its buttons, and what its fields offer."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field

from dashboard.actions.fields import LASTS
from dashboard.actions.kinds import ACTS, KINDS, Choice


@dataclass(frozen=True, slots=True)
class Form:
    """Buttons that share a reason. `title` and `about` head a form that is folded away (`open`: it is not);
    the main one has neither. `stuck`: steps that may be resolved; `held`: ids of workflows that may be sent
    as probe. The decision's id is made with the form, so that a second click gets the first answer."""

    acts: list[Choice]
    title: str = ""
    about: str = ""
    stuck: list[str] = field(default_factory=list)
    held: list[str] = field(default_factory=list)
    open: bool = False
    decision_id: str = field(default_factory=lambda: str(uuid.uuid4()))

    def has(self, *acts: str) -> bool:
        """Is there a button for one of these?"""
        return any(item.act in acts for item in self.acts)

    @property
    def resolves(self) -> bool:
        return self.has("resolve")

    @property
    def delegates(self) -> bool:
        return self.has("delegate")

    @property
    def forces(self) -> bool:
        return self.has("force_open", "force_close")

    @property
    def probes(self) -> bool:
        return self.has("probe")

    @property
    def lasts(self) -> dict[str, str]:
        """How long a forced state may last: the value of the field, and the words."""
        return LASTS

    @property
    def hint(self) -> str:
        """When a reason is needed, as a sentence."""
        strict = [item.label.lower() for item in self.acts if KINDS[ACTS[item.act]].needs_reason]
        if len(strict) == len(self.acts):
            return "Needed; it is kept in the audit log."
        if not strict:
            return "It is kept in the audit log."
        words = f"{', '.join(strict[:-1])} or {strict[-1]}" if len(strict) > 1 else strict[0]
        return f"Needed to {words}; kept in the audit log either way."
