"""Cached activities: stable keys, one fetch however many ask, and a cache that is away costs no work."""

from __future__ import annotations

import subprocess
import sys
import threading
import uuid
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

import pytest
from django.core.cache import caches
from django.db import connection
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel
from pydantic_core import PydanticSerializationError
from temporalio.exceptions import ApplicationError

from workers.client.digest import canonical
from workers.client.tenancy import tenant_context
from workers.patterns.cache import PlainText, cache_key, cached, forget

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(-1e9, 1e9) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


def backwards(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: backwards(value[key]) for key in reversed(value)}
    return [backwards(item) for item in value] if isinstance(value, list) else value


@settings(deadline=None, max_examples=100)
@given(JSON)
def test_the_order_of_keys_does_not_matter(value) -> None:
    assert canonical(value) == canonical(backwards(value))


class Colour(StrEnum):
    RED = "red"


@dataclass
class Pair:
    both: set[str]


class Rate(BaseModel):
    base: str
    sum: Decimal = Decimal("1.10")
    tags: set[str] = {"a", "b", "c"}


def test_a_key_is_the_same_in_another_process() -> None:
    """Python's hash() of text, and so the order of sets, differs from process to process."""
    program = (
        "from workers.patterns.cache import cache_key;"
        "print(cache_key('rate', [{'b': {'x', 'y', 'z'}, 'a': 1}], tenant='acme'))"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == cache_key("rate", [{"a": 1, "b": {"z", "y", "x"}}], tenant="acme")


def test_what_differs_has_another_key() -> None:
    keys = [
        cache_key("rate", ["EUR"]),
        cache_key("rate", ["EUR"], tenant="acme"),
        cache_key("rate", ["EUR"], version="2"),
        cache_key("rates", ["EUR"]),
        cache_key("rate", [["EUR"]]),
        cache_key("rate", [Rate(base="EUR")]),
        cache_key("rate", [Pair({"a", "b"})]),
        cache_key("rate", [1]),
        cache_key("rate", [1.0]),
        cache_key("rate", [True]),
        cache_key("rate", ["1"]),
        cache_key("rate", [None]),
        cache_key("rate", []),
        cache_key("rate", [datetime(2026, 1, 2, tzinfo=UTC)]),
        cache_key("rate", [b"\xff"]),
        cache_key("rate", [float("nan")]),
        cache_key("rate", ["\ud800"]),
    ]
    assert len(set(keys)) == len(keys)
    assert cache_key("rate", [Colour.RED]) == cache_key("rate", ["red"])
    assert all(len(key) < 250 and key.isascii() and " " not in key for key in keys)
    assert cache_key("rate", [], tenant="a b/ü" * 50).startswith("a%20b%2F%C3%BC")


def test_what_has_no_json_form_has_no_key() -> None:
    with pytest.raises(PydanticSerializationError):
        cache_key("rate", [object()])


class Desk:
    """A slow desk that counts who asks; each test has a name of its own in the cache."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.fails: Exception | None = None
        self.version = uuid.uuid4().hex

    def rate(self, **options: Any) -> Callable[..., Rate | None]:
        @cached(seconds=600, version=self.version, **options)
        def rate(base: str) -> Rate | None:
            self.asked[base] += 1
            self.entered.set()
            assert self.gate.wait(30)
            if self.fails:
                raise self.fails
            return Rate(base=base) if base != "none" else None

        return rate


@pytest.fixture
def desk(transactional_db: None) -> Desk:
    return Desk()


def test_an_answer_is_fetched_once_and_has_its_type(desk: Desk) -> None:
    rate = desk.rate()
    assert rate("EUR") == rate(base="EUR") == Rate(base="EUR")
    assert desk.asked == {"EUR": 1}
    forget(rate, "EUR")
    rate("EUR")
    assert desk.asked == {"EUR": 2}


def test_many_who_ask_at_once_cause_one_fetch(desk: Desk) -> None:
    desk.gate.clear()
    rate = desk.rate()
    begun = threading.Barrier(9)

    def ask() -> Rate | None:
        begun.wait(30)
        try:
            return rate("EUR")
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(ask) for _ in range(8)]
        begun.wait(30)
        assert desk.entered.wait(30)
        desk.gate.set()
        assert [answer.result(30) for answer in answers] == [Rate(base="EUR")] * 8
    assert desk.asked == {"EUR": 1}


def test_who_died_with_the_lock_holds_nobody_back_for_ever(desk: Desk) -> None:
    rate = desk.rate(lock_seconds=2)
    plan = rate.__signalbox_cache__
    caches["workers"].add(f"{plan.key(('EUR',))}:lock", "somebody who died", 600)
    assert rate("EUR") == Rate(base="EUR")
    assert caches["workers"].get(f"{plan.key(('EUR',))}:lock") == "somebody who died"


def test_no_answer_and_a_refusal_are_kept_too_but_no_failure(desk: Desk) -> None:
    rate, impatient = desk.rate(), desk.rate(negative_seconds=0)
    assert (rate("none"), rate("none"), desk.asked["none"]) == (None, None, 1)
    forget(rate, "none")
    assert (impatient("none"), impatient("none")) == (None, None)
    assert desk.asked["none"] == 3
    desk.fails = ApplicationError("No such.", "XXX", type="Unknown", non_retryable=True)
    for _ in range(2):
        with pytest.raises(ApplicationError) as refused:
            rate("XXX")
        assert (refused.value.type, refused.value.non_retryable) == ("Unknown", True)
        assert list(refused.value.details) == ["XXX"]
    desk.fails = ApplicationError("Away.")
    for _ in range(2):
        with pytest.raises(ApplicationError, match="Away"):
            rate("USD")
    assert (desk.asked["XXX"], desk.asked["USD"]) == (1, 2)


def test_tenants_do_not_see_each_others_answers(desk: Desk) -> None:
    rate, shared = desk.rate(), desk.rate(per_tenant=False)
    for tenant in ("acme", "other"):
        with tenant_context(tenant, None):
            rate("EUR")
            shared("CHF")
    assert desk.asked == {"EUR": 2, "CHF": 1}


def test_an_entry_of_another_build_is_fetched_again(desk: Desk) -> None:
    rate = desk.rate()
    key = rate.__signalbox_cache__.key(("EUR",))
    for old in ("no json", '{"value": {"name": "EUR"}}'):
        caches["workers"].set(key, old, 600)
        assert rate("EUR") == Rate(base="EUR")
    assert desk.asked == {"EUR": 2}


def test_without_a_cache_the_work_is_done_each_time(desk: Desk, settings) -> None:
    database = {"BACKEND": "django.core.cache.backends.db.DatabaseCache", "LOCATION": "workers_cache"}
    settings.CACHES = {**settings.CACHES, "workers": database}
    rate = desk.rate()
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE workers_cache RENAME TO workers_cache_away")
    try:
        assert rate("EUR") == rate("EUR") == Rate(base="EUR")
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE workers_cache_away RENAME TO workers_cache")
    assert desk.asked == {"EUR": 2}


def test_an_async_function_is_refused() -> None:
    async def rate(base: str) -> str:
        return base

    with pytest.raises(TypeError, match="plain function"):
        cached(seconds=1)(rate)


def test_redis_holds_plain_text() -> None:
    assert PlainText().loads(PlainText().dumps("{ü}")) == "{ü}"
    with pytest.raises(UnicodeDecodeError):
        PlainText().loads(b"\x80\x04pickled")
