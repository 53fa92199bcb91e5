"""Typed JSON: every value comes back as it was, whoever wrote it, and other readers get plain JSON."""

from __future__ import annotations

import base64
import json
import math
import uuid
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st
from pydantic import ValidationError
from temporalio.api.common.v1 import Payload
from temporalio.common import RawValue
from temporalio.contrib.pydantic import PydanticPayloadConverter
from temporalio.converter import DefaultPayloadConverter

from tests.workers.payloads.payload_types import Colour, Crate, Everything, Label, Line, Loose, Size, Stamp
from workers.payloads.converter import TypedPayloadConverter
from workers.payloads.errors import PayloadUnreadable, PayloadUnwritable, UnknownTag
from workers.payloads.redaction import SENSITIVE, normal, normals
from workers.payloads.tags import METADATA, payload_type

GOLDEN = Path(__file__).parents[2] / "histories" / "payloads" / "pydantic.json"
SAMPLES: dict[str, tuple[Any, Any]] = {  # name: value, declared type
    "none": (None, type(None)),
    "text": ("grüße \u2028 \U0001f6a2", str),
    "empty": ("", str),
    "number": (2**70, int),
    "float": (0.1, float),
    "flag": (True, bool),
    "list": ([], list),
    "dict": ({"$type": "decimal", "value": "1"}, dict[str, str]),
    "decimal": (Decimal("1.20"), Decimal),
    "datetime": (datetime(2026, 1, 2, 3, 4, 5, 6, UTC), datetime),
    "naive": (datetime(2026, 1, 2, 3, 4, 5), datetime),  # noqa: DTZ001 (that is the point)
    "date": (date(2026, 1, 2), date),
    "time": (time(3, 4, 5), time),
    "timedelta": (timedelta(days=1, microseconds=2), timedelta),
    "uuid": (uuid.UUID(int=7), uuid.UUID),
    "enum": (Colour.GREEN, Colour),
    "set": ({1, 2}, set[int]),
    "tuple": ((1, "a"), tuple[int, str]),
    "bytes": (b"\x00\xff", bytes),
    "dataclass": (Stamp(datetime(2026, 1, 2, tzinfo=UTC)), Stamp),
    "model": (Line(sku="a", price=Decimal("1.20")), Line),
    "models": ([Line(sku="a", price=Decimal("1.20"))], list[Line]),
    "protobuf": (Timestamp(seconds=5), Timestamp),
}
converter = TypedPayloadConverter()
pydantic = PydanticPayloadConverter()


def sent(value: Any, hint: Any = None) -> Any:
    """What the other side gets, through the bytes of the wire."""
    [payload] = converter.to_payloads([value])
    wire = Payload.FromString(payload.SerializeToString())
    return converter.from_payloads([wire], [hint] if hint is not None else None)[0]


finite = st.floats(allow_nan=False, allow_infinity=False)
plain = st.none() | st.booleans() | st.integers() | finite | st.text(max_size=5)
decimals = st.decimals(allow_nan=False, allow_infinity=False)
offsets = st.integers(-14, 14).map(lambda hours: timezone(timedelta(hours=hours)))
datetimes = st.datetimes(timezones=offsets) | st.datetimes()
special = st.one_of(
    decimals,
    datetimes,
    st.dates(),
    st.times(),
    st.timedeltas(min_value=timedelta(days=-9999), max_value=timedelta(days=9999)),
    st.uuids(),
    st.sampled_from(Colour),
    st.builds(Stamp, at=st.datetimes(timezones=st.just(UTC)), colour=st.sampled_from(Colour)),
    st.builds(Label, text=st.text(max_size=5), price=decimals),
)
names = st.text(max_size=4).filter(lambda text: normal(text) not in normals(SENSITIVE))  # `ssn` is refused
hashable = st.one_of(st.integers(), st.text(max_size=5), decimals, st.dates(), st.uuids())


def nested(leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.lists(inner, max_size=4),
            st.dictionaries(names, inner, max_size=4),
            st.lists(inner, max_size=3).map(tuple),
            st.sets(hashable, max_size=3),
            st.frozensets(hashable, max_size=3),
        ),
        max_leaves=12,
    )


in_models = nested(plain | special)
untyped = nested(plain | special | st.sampled_from([math.inf, -math.inf]))
everything = st.builds(
    Everything,
    price=decimals,
    at=st.datetimes(timezones=st.just(UTC)),
    lasts=st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=999)),
    blob=st.binary(max_size=9),
    stamp=st.builds(Stamp, at=st.datetimes(timezones=st.just(UTC))),
    lines=st.lists(st.builds(Line, price=decimals), max_size=2),
    maybe=st.none() | decimals,
)


def same(one: Any, other: Any) -> bool:
    """Equal, and of equal types all the way down: 1 is not True, and a tuple is not a list."""
    if type(one) is not type(other) or one != other:
        return False
    if isinstance(one, dict):
        return all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return all(map(same, one, other))
    return True


@limits(max_examples=150, deadline=None)
@given(untyped)
def test_values_come_back_as_they_were_without_a_hint(value: Any) -> None:
    assert same(sent(value), value)
    assert same(sent(value, Any), value)


@limits(max_examples=60, deadline=None)
@given(everything)
def test_declared_types_come_back_by_hint(value: Everything) -> None:
    assert sent(value, Everything) == value


@limits(max_examples=40, deadline=None)
@given(
    st.builds(
        Crate,
        prices=st.dictionaries(st.text(max_size=3), decimals, max_size=2),
        blob=st.binary(max_size=9),
        line=st.builds(Line, price=decimals),
    )
)
def test_a_dataclass_comes_back_by_hint(value: Crate) -> None:
    assert sent(value, Crate) == value


@pytest.mark.parametrize("name", SAMPLES)
def test_each_type_comes_back_by_its_hint(name: str) -> None:
    value, hint = SAMPLES[name]
    assert same(sent(value, hint), value)


@limits(max_examples=40, deadline=None)
@given(in_models, in_models)
def test_fields_without_a_type_keep_what_they_hold(one: Any, other: Any) -> None:
    value = Loose(metaData={"x": one}, children=[Loose(anything=other)], more=one)
    assert sent(value, Loose) == value


def test_an_offset_is_kept_and_a_naive_datetime_stays_naive() -> None:
    at = datetime.fromisoformat("2026-06-01T10:00:00+02:00")
    assert sent([at])[0].utcoffset() == timedelta(hours=2)
    assert sent(at, datetime).utcoffset() == timedelta(hours=2)
    assert sent({"at": datetime(2026, 1, 2)})["at"].tzinfo is None  # noqa: DTZ001


def test_nan_and_the_infinities_are_valid_json() -> None:
    [payload] = converter.to_payloads([{"a": [math.nan, math.inf, -math.inf, 1.5]}])
    assert json.loads(payload.data, parse_constant=pytest.fail) == {
        "a": ["NaN", "Infinity", "-Infinity", 1.5]
    }
    assert math.isnan(sent([math.nan])[0])
    assert math.isinf(sent(math.inf, float))


@pytest.mark.parametrize(
    "value", ["x", {"a": [1, {"b": None}]}, Line(sku="a", price=Decimal(1)), {"$type": "x"}]
)
def test_plain_and_declared_values_need_no_tags(value: Any) -> None:
    [payload] = converter.to_payloads([value])
    assert dict(payload.metadata) == {"encoding": b"json/plain"}


def test_rows_of_one_shape_share_their_tags() -> None:
    [payload] = converter.to_payloads([{"rows": [{"price": Decimal(n), "n": n} for n in range(1000)]}])
    assert json.loads(payload.metadata[METADATA]) == {"rows": {"*": {"price": "decimal"}}}


@limits(max_examples=60, deadline=None)
@given(untyped)
def test_the_data_is_plain_json_for_any_language(value: Any) -> None:
    [payload] = converter.to_payloads([{"value": value}])
    assert payload.metadata["encoding"] == b"json/plain"
    assert DefaultPayloadConverter().from_payloads([payload]) == [json.loads(payload.data)]


@pytest.mark.parametrize("name", SAMPLES)
def test_the_pydantic_converter_reads_what_is_written_now(name: str) -> None:
    value, hint = SAMPLES[name]
    payloads = converter.to_payloads([value])
    assert same(pydantic.from_payloads(payloads, [hint])[0], value)


def golden() -> list[dict[str, Any]]:
    return json.loads(GOLDEN.read_text())


@pytest.mark.parametrize("row", golden(), ids=lambda row: row["name"])
def test_what_the_pydantic_converter_wrote_stays_readable(row: dict[str, Any]) -> None:
    metadata = {name: value.encode() for name, value in row["metadata"].items()}
    payload = Payload(metadata=metadata, data=base64.b64decode(row["data"]))
    value, hint = SAMPLES[row["name"]]
    assert same(converter.from_payloads([payload], [hint])[0], value)
    if row["metadata"]["encoding"] == "json/plain":
        assert converter.from_payloads([payload]) == pydantic.from_payloads([payload])


def test_foreign_json_is_read() -> None:
    payload = Payload(metadata={"encoding": b"json/plain"}, data=b' {"a": 1.0, "b": NaN, "c": [null] }\n')
    [value] = converter.from_payloads([payload])
    assert (value["a"], value["c"]) == (1.0, [None])
    assert math.isnan(value["b"])


def test_raw_values_pass_and_can_be_read_later() -> None:
    [raw] = converter.from_payloads(converter.to_payloads([Decimal("1.20")]), [RawValue])
    assert converter.from_payloads(converter.to_payloads([raw])) == [Decimal("1.20")]


def tagged(data: Any, tags: Any) -> Payload:
    metadata = {"encoding": b"json/plain", METADATA: json.dumps(tags).encode()}
    return Payload(metadata=metadata, data=json.dumps(data).encode())


@pytest.mark.parametrize(
    ("data", "tags", "error"),
    [
        ("x", "os.system", UnknownTag),
        ({"a": 1}, {"a": "builtins.eval"}, UnknownTag),
        ("abc", "decimal", PayloadUnreadable),
        ("no date", "date", PayloadUnreadable),
        ([1], {"9": "uuid"}, PayloadUnreadable),
        ([[]], "set", PayloadUnreadable),
        (1, ["tuple"], PayloadUnreadable),
        (1, 7, PayloadUnreadable),
        ("blue", "Colour", PayloadUnreadable),
    ],
)
def test_tags_that_do_not_fit_are_a_clear_error(data: Any, tags: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        converter.from_payloads([tagged(data, tags)])


def test_a_hint_knows_better_than_an_unknown_tag() -> None:
    assert converter.from_payloads([tagged("1.20", "elsewhere.Money")], [Decimal]) == [Decimal("1.20")]
    assert sent(uuid.UUID(int=1), str) == str(uuid.UUID(int=1))


def test_bad_bytes_are_told_from_wrong_types() -> None:
    broken = Payload(metadata={"encoding": b"json/plain"}, data=b"{")
    with pytest.raises(PayloadUnreadable):
        converter.from_payloads([broken])
    with pytest.raises(PayloadUnreadable, match="binary/mystery"):
        converter.from_payloads([Payload(metadata={"encoding": b"binary/mystery"})])
    with pytest.raises(ValidationError):
        converter.from_payloads(converter.to_payloads([{"sku": 1}]), [Line])


def cycle() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


@pytest.mark.parametrize(
    "value", [object(), {"a": print}, "\ud800", cycle()], ids=["object", "fn", "text", "cycle"]
)
def test_what_has_no_json_is_refused_for_good(value: Any) -> None:
    with pytest.raises(PayloadUnwritable) as caught:
        converter.to_payloads([value])
    assert (caught.value.type, caught.value.non_retryable) == ("PayloadUnwritable", True)


def test_an_enum_off_the_allow_list_is_its_value() -> None:
    assert sent([Size.SMALL]) == [1]
    assert sent(Size.SMALL, Size) is Size.SMALL


def test_two_types_cannot_have_one_name() -> None:
    with pytest.raises(ValueError, match="Colour"):
        payload_type(type("Colour", (), {}))
