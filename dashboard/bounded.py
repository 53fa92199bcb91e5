"""A cache that is bounded by bytes, by age and by number of entries; the least recently used go first."""

from __future__ import annotations

import random
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from dataclasses import fields, is_dataclass
from typing import Any, Generic, TypeVar

from pydantic import BaseModel

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

SAMPLE = 32  # items of a long collection that are weighed; the others count as much on average
DEEPEST = 12
_random = random.Random(0)  # noqa: S311 (to weigh, not to hide)


def size_of(value: Any, depth: int = 0) -> int:
    """About how many bytes a value takes, with all that it holds."""
    size = sys.getsizeof(value, 64)
    if depth > DEEPEST or isinstance(value, (str, bytes, int, float)) or value is None:
        return size
    if isinstance(value, dict):
        items: list[Any] = [part for pair in value.items() for part in pair]
    elif isinstance(value, (list, tuple, set, frozenset)):
        items = list(value)
    elif isinstance(value, BaseModel):
        items = list(vars(value).values())
    elif is_dataclass(value):
        return size + sum(size_of(getattr(value, field.name), depth + 1) for field in fields(value))
    else:
        return size
    weighed = items if len(items) <= SAMPLE else _random.sample(items, SAMPLE)
    inside = sum(size_of(item, depth + 1) for item in weighed)
    return size + (inside * len(items) // len(weighed) if weighed else 0)


class Bounded(Generic[K, V]):
    """Entries by key. `weigh` says how many bytes an entry takes, when it is put."""

    def __init__(
        self, *, largest: int, seconds: float, entries: int = 512, weigh: Callable[[V], int] = size_of
    ) -> None:
        self._largest, self._seconds, self._entries, self._weigh = largest, seconds, entries, weigh
        self._kept: OrderedDict[K, tuple[V, int, float]] = OrderedDict()
        self.size = 0

    def __len__(self) -> int:
        return len(self._kept)

    def __iter__(self) -> Iterator[K]:
        return iter(tuple(self._kept))

    def get(self, key: K) -> V | None:
        """The entry, unless it is too old or was let go."""
        found = self._kept.get(key)
        if found is None:
            return None
        if time.monotonic() - found[2] > self._seconds:
            self.pop(key)
            return None
        self._kept.move_to_end(key)
        return found[0]

    def put(self, key: K, value: V) -> V:
        """Keep an entry, or its new weight, and let go of others where there is no room. One that is larger
        than the whole cache is not kept."""
        self.pop(key)
        size = self._weigh(value)
        if size <= self._largest:
            self._kept[key] = (value, size, time.monotonic())
            self.size += size
        while self.size > self._largest or len(self._kept) > self._entries:
            self.pop(next(iter(self._kept)))
        return value

    def pop(self, key: K) -> None:
        """Let go of an entry, if there is one."""
        if found := self._kept.pop(key, None):
            self.size -= found[1]

    def clear(self) -> None:
        self._kept.clear()
        self.size = 0
