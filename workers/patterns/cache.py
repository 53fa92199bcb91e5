"""Cached activities: an answer is fetched once and kept for a while, by all workers together.

On Django's cache `workers`, which the processes share. Only one of them fetches an answer that is not cached;
the others wait for it. What says that there is no answer is kept too, for a shorter time.
"""

from __future__ import annotations

import functools
import inspect
import logging
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar, cast, get_type_hints
from urllib.parse import quote

from django.core.cache import caches
from pydantic import BaseModel, Field, TypeAdapter, ValidationError
from temporalio.exceptions import ApplicationError

from workers.client.digest import digest
from workers.client.tenancy import current_tenant

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

CACHE = "workers"
SHORTEST_PAUSE, LONGEST_PAUSE = 0.02, 0.25  # seconds between two looks for another's answer
LONGEST_PREFIX = 60  # characters of tenant and of name; the digest tells apart what they do not

logger = logging.getLogger(__name__)


def cached(
    *,
    seconds: int,
    negative_seconds: int = 30,
    lock_seconds: int = 30,
    per_tenant: bool = True,
    version: str = "",
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Keep what a sync activity returns for `seconds`. Stands below @activity.defn.

    None and non-retryable failures are kept for `negative_seconds` (0: not at all); other failures never.
    `lock_seconds`: more than fetching takes; so long the others wait. `per_tenant` False: one answer for all
    tenants. Another `version` makes what was kept before unknown. Arguments must have a JSON form.
    """

    def decorate(fn: Callable[P, R]) -> Callable[P, R]:
        if inspect.iscoroutinefunction(fn):
            raise TypeError(f"{fn.__qualname__} must be a plain function: waiting for others takes a thread.")
        result, signature = TypeAdapter(get_type_hints(fn).get("return", Any)), inspect.signature(fn)
        plan = _Plan(fn, result, seconds, negative_seconds, lock_seconds, per_tenant, version)

        @functools.wraps(fn)
        def answer(*args: P.args, **kwargs: P.kwargs) -> R:
            return cast(R, plan.answer(signature.bind(*args, **kwargs).args))

        answer.__signalbox_cache__ = plan  # type: ignore[attr-defined]
        return answer

    return decorate


def forget(fn: Callable[..., Any], *arguments: Any) -> None:
    """Drop the kept answer of a cached activity to these arguments, for the current tenant."""
    plan: _Plan = fn.__signalbox_cache__  # type: ignore[attr-defined]
    caches[CACHE].delete(plan.key(arguments))


def cache_key(name: str, arguments: Sequence[Any], *, tenant: str = "", version: str = "") -> str:
    """`<tenant>:<name>:<sha256>` in characters that every backend takes: the same for the same question, in
    every process and after every restart.

    Raises PydanticSerializationError for arguments without a JSON form.
    """
    prefix = ":".join(quote(part, safe="")[:LONGEST_PREFIX] for part in (tenant, name))
    return f"{prefix}:{digest([tenant, name, version, list(arguments)])}"


class Refusal(BaseModel):
    """A non-retryable failure, which is an answer too."""

    message: str
    type: str | None = None
    details: list[Any] = Field(default_factory=list)


class Entry(BaseModel):
    """What is kept under a key, as JSON text, so that only text is ever read back."""

    value: Any = None
    refusal: Refusal | None = None


class PlainText:
    """Serializer for Redis: our entries are text, and nothing that lies there is ever unpickled."""

    def dumps(self, value: str) -> bytes:
        return value.encode()

    def loads(self, value: bytes) -> str:
        return value.decode()


@dataclass(frozen=True)
class _Plan:
    fn: Callable[..., Any]
    result: TypeAdapter[Any]
    seconds: int
    negative_seconds: int
    lock_seconds: int
    per_tenant: bool
    version: str

    def key(self, arguments: tuple[Any, ...]) -> str:
        tenant = (current_tenant() or "") if self.per_tenant else ""
        name = f"{self.fn.__module__}.{self.fn.__qualname__}"
        return cache_key(name, arguments, tenant=tenant, version=self.version)

    def answer(self, arguments: tuple[Any, ...]) -> Any:
        """The kept answer, or a fetched one. Raises what the function raises."""
        key = self.key(arguments)
        entry, token = self._read(key), ""
        if entry is None:
            entry, token = self._other(key)
        if entry is None:
            try:
                entry = self._fetch(key, arguments)
            finally:
                self._release(key, token)
        if refusal := entry.refusal:
            raise ApplicationError(refusal.message, *refusal.details, type=refusal.type, non_retryable=True)
        return self.result.validate_python(entry.value)

    def _other(self, key: str) -> tuple[Entry | None, str]:
        """Another's answer, or "" or the token of the lock with which we are the one to fetch it.

        Who has waited for as long as a lock lives fetches without one: being late is worse than twice.
        """
        token, until, pause = uuid.uuid4().hex, time.monotonic() + self.lock_seconds, SHORTEST_PAUSE
        while time.monotonic() < until:
            won = _safely(lambda: caches[CACHE].add(f"{key}:lock", token, self.lock_seconds), True)
            entry = self._read(key)  # it may have come between the first look and the lock
            if entry is not None:
                self._release(key, token if won else "")
                return entry, ""
            if won:
                return None, token
            time.sleep(pause)
            pause = min(pause * 1.5, LONGEST_PAUSE)
        return None, ""

    def _fetch(self, key: str, arguments: tuple[Any, ...]) -> Entry:
        try:
            value = self.fn(*arguments)
        except ApplicationError as error:
            if not error.non_retryable:
                raise
            refusal = Refusal(message=error.message, type=error.type, details=list(error.details))
            entry = Entry(refusal=refusal)
        else:
            entry = Entry(value=self.result.dump_python(value, mode="json"))
        seconds = self.negative_seconds if entry.value is None else self.seconds
        if seconds > 0:
            _safely(lambda: caches[CACHE].set(key, entry.model_dump_json(), seconds), None)
        return entry

    def _read(self, key: str) -> Entry | None:
        text = _safely(lambda: caches[CACHE].get(key), None)
        if text is None:
            return None
        try:
            entry = Entry.model_validate_json(text)
            if entry.refusal is None:
                self.result.validate_python(entry.value)
        except ValidationError:
            return None  # kept by a build with another result type
        return entry

    def _release(self, key: str, token: str) -> None:
        if token and _safely(lambda: caches[CACHE].get(f"{key}:lock"), None) == token:
            _safely(lambda: caches[CACHE].delete(f"{key}:lock"), None)


def _safely(operation: Callable[[], T], otherwise: T) -> T:
    """A cache that is away costs time, not work."""
    try:
        return operation()
    except Exception as error:
        logger.warning("The cache does not answer: %s", error)
        return otherwise
