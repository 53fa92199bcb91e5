"""Nothing named like a secret is shown, at any depth, in values and in text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from django.test import override_settings
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st
from pydantic import BaseModel

from workers.conf import conf
from workers.payloads.redaction import MASK, SENSITIVE, redact, redact_text

SECRET = "correct-horse"


class Account(BaseModel):
    name: str
    password: str | None = None


@dataclass
class Wrapped:
    account: Account
    apiKey: str  # noqa: N815 (as other languages spell it)


@pytest.mark.parametrize(
    "name", [*SENSITIVE, "apiKey", "API-KEY", "Credit Card", "creditCard", "PassWord", "S.S.N"]
)
def test_names_count_without_case_and_separators(name: str) -> None:
    assert redact({name: SECRET}) == {name: MASK}


def test_models_dataclasses_and_what_they_hold_are_looked_into() -> None:
    value = [Wrapped(Account(name="ann", password=SECRET), apiKey=SECRET)]
    assert redact(value) == [{"account": {"name": "ann", "password": MASK}, "apiKey": MASK}]


def test_what_is_not_there_is_not_hidden() -> None:
    assert redact(Account(name="ann")) == {"name": "ann", "password": None}


def test_more_names_come_from_the_settings() -> None:
    more = conf().model_copy(update={"redacted_fields": ("sort_code",)})
    assert redact({"sortCode": SECRET}) == {"sortCode": SECRET}
    with override_settings(WORKERS=more):
        assert redact({"sortCode": SECRET}) == {"sortCode": MASK}
        assert SECRET not in redact_text(f"sort_code={SECRET}")


def test_a_cycle_ends() -> None:
    value: dict[str, Any] = {"password": SECRET}
    value["again"] = value
    assert SECRET not in str(redact(value))


nested = st.recursive(
    st.none() | st.integers() | st.just("plain") | st.fixed_dictionaries({"ssn": st.just(SECRET)}),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b"]), inner, max_size=3)
    ),
    max_leaves=12,
)


@limits(max_examples=60, deadline=None)
@given(nested)
def test_nothing_hidden_is_left_at_any_depth(value: Any) -> None:
    redacted = redact(value)
    assert SECRET not in repr(redacted)
    assert repr(redacted) == repr(value).replace(repr(SECRET), repr(MASK))


@pytest.mark.parametrize(
    "text",
    [
        "login failed, password=correct-horse, retrying",
        'body {"api_key": "correct-horse \\" battery", "x": 1}',
        "{'credit_card': {'number': 'correct-horse', 'valid': ['correct-horse']}}",
        '{"credit_card": {"number": "correct-horse", "cvc": [1, {"a": "correct-horse"}]}}',
        r'body "{\"ssn\": \"correct-horse\"}"',
        "X-API-KEY: correct-horse",
        "Order(name='x', password='correct-horse battery')",
        "db_password=correct-horse&x=1",
        'unterminated "password": "correct-horse',
    ],
)
def test_pairs_in_text_lose_their_value(text: str) -> None:
    hidden = redact_text(text)
    assert SECRET not in hidden
    assert "battery" not in hidden
    assert MASK in hidden


@pytest.mark.parametrize(
    "text", ["The password is wrong.", "A lesson: 3", "password=None", '{"ssn": null}', "passwords", ""]
)
def test_text_that_says_nothing_stays(text: str) -> None:
    assert redact_text(text) == text


@limits(max_examples=60, deadline=None)
@given(st.text(max_size=200))
def test_any_text_can_be_looked_through(text: str) -> None:
    once = redact_text(f"password={text}")
    assert redact_text(once) == once
