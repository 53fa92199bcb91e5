"""Panels: what a workflow says about itself, drawn because it declares the contract.

One module a contract: the answer to a query becomes a model, the model a template. Whoever wrote the
workflow may answer half of a contract, or something else entirely: what can be read is drawn, and the
panel says what it got.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from dashboard.temporal_api.rows import shorten

C = TypeVar("C", bound=BaseModel)
TRIES = 20


@dataclass(frozen=True, slots=True)
class Panel:
    """A panel of a run page. `at` is when its answer came, `problem` why there is no newer one,
    `complaint` what was wrong with the answer; `raw` is the answer where nothing of it could be read."""

    title: str
    template: str
    model: Any
    source: str
    at: datetime | None
    problem: str = ""
    complaint: str = ""
    raw: Any = None

    @property
    def raw_text(self) -> str:
        """The answer as it came, cut to what a page can hold."""
        return shorten([self.raw], 2000)[0]


def _without(value: Any, path: tuple[int | str, ...]) -> None:
    """Remove what `path` leads to, so that its default takes its place; a wrong item of a list goes as a
    whole."""
    for key in path[:-1]:
        value = value[key]
    del value[path[-1]]


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list) else value


def read(model: type[C], value: Any) -> tuple[C | None, str]:
    """An answer as its model, and what was wrong with it: fields of a wrong type are left to their
    defaults. None where the answer is not an object at all."""
    if not isinstance(value, dict):
        return None, f"The answer is {_kind(value)}, where an object was expected."
    value, dropped = _copy(value), list[str]()
    for _ in range(TRIES):
        try:
            read_model = model.model_validate(value)
        except ValidationError as error:
            path = error.errors()[0]["loc"]
            dropped.append(".".join(map(str, path)))
            _without(value, path)
        else:
            return read_model, f"It could not read {', '.join(dropped)}." if dropped else ""
    return None, "Too much of the answer is not as the contract says."


def _kind(value: Any) -> str:
    names = {
        str: "text",
        bool: "true or false",
        int: "a number",
        float: "a number",
        list: "a list",
        type(None): "empty",
    }
    return names.get(type(value), type(value).__name__)
