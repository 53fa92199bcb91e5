"""Answers of workflows as models, as far as they can be read.

A workflow may answer half of a contract, or something else entirely: what can be read is
kept, and the page says what could not.
"""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

M = TypeVar("M", bound=BaseModel)
TRIES = 20


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


def read(model: type[M], value: Any) -> tuple[M | None, str]:
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
    return None, "Too much of the answer does not fit the contract."


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
