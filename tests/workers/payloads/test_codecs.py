"""Compression, encryption and claims: what goes in comes out, and what was touched does not."""

from __future__ import annotations

import base64
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import storages
from django.test import override_settings
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st
from temporalio.api.common.v1 import Payload
from temporalio.converter import DataConverter, PayloadCodec

from workers.conf import ConfigurationError, WorkersConf, compose, conf
from workers.payloads import codecs
from workers.payloads.assembly import data_converter
from workers.payloads.codecs import ZLIB, Codec, codec_of, compressed, decompressed
from workers.payloads.encryption import CIPHER, KEY_ID, KeyRing
from workers.payloads.errors import (
    ClaimMissing,
    KeyMissing,
    PayloadTampered,
    PayloadTooLarge,
    PayloadUnreadable,
)

OLD, NEW = (base64.b64encode(bytes([n]) * 32).decode() for n in (1, 2))
JSON = {"encoding": b"json/plain"}
payloads = st.builds(
    Payload,
    metadata=st.dictionaries(st.text(max_size=5), st.binary(max_size=5), max_size=3),
    data=st.binary(max_size=2000) | st.binary(max_size=20).map(lambda b: b * 100),
)


def settings_with(**changes: Any) -> WorkersConf:
    return conf().model_copy(update=changes)


def ring(text: str) -> KeyRing:
    return KeyRing.parse(text)


@limits(max_examples=80, deadline=None)
@given(payloads, st.booleans(), st.booleans())
async def test_whatever_is_encoded_comes_back(payload: Payload, compress: bool, encrypt: bool) -> None:
    made = Codec(ring(f"new:{NEW},old:{OLD}") if encrypt else KeyRing(), compress)
    [encoded] = await made.encode([payload])
    assert await made.decode([encoded]) == [payload]
    assert encrypt == (encoded.metadata.get("encoding") == b"binary/encrypted")


@limits(max_examples=60, deadline=None)
@given(payloads)
def test_compression_never_makes_a_payload_larger(payload: Payload) -> None:
    packed = compressed(payload)
    assert packed.ByteSize() <= payload.ByteSize()
    assert decompressed(packed) == payload if packed is not payload else True


def test_text_that_repeats_is_compressed_and_small_or_random_bytes_are_not() -> None:
    assert compressed(Payload(metadata=JSON, data=b"abc" * 500)).metadata["encoding"] == ZLIB
    for data in (b"abc" * 5, os.urandom(5000)):
        payload = Payload(metadata=JSON, data=data)
        assert compressed(payload) is payload


def test_a_payload_that_unpacks_to_gigabytes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codecs, "LARGEST", 100_000)
    bomb = Payload(metadata={"encoding": ZLIB}, data=zlib.compress(bytes(1_000_000)))
    with pytest.raises(PayloadUnreadable, match="100,000"):
        decompressed(bomb)


@pytest.mark.parametrize(
    "damage", [lambda d: d[:-3], lambda d: b"x" + d, lambda _: b"", lambda _: zlib.compress(b"\xff")]
)
def test_damaged_compression_is_an_error(damage: Any) -> None:
    packed = compressed(Payload(metadata=JSON, data=b"abc" * 500))
    with pytest.raises(PayloadTampered):
        decompressed(Payload(metadata=packed.metadata, data=damage(packed.data)))


def test_the_metadata_names_key_and_cipher_and_hides_the_rest() -> None:
    payload = Payload(metadata=JSON, data=b'"hunter2"')
    one, two = ring(f"new:{NEW}").encrypted(payload), ring(f"new:{NEW}").encrypted(payload)
    assert (one.metadata[KEY_ID], one.metadata[CIPHER]) == (b"new", b"AES-256-GCM")
    assert b"hunter2" not in one.SerializeToString()
    assert b"json" not in one.SerializeToString()
    assert one.data != two.data  # a nonce is never used twice


@limits(max_examples=60, deadline=None)
@given(st.data())
def test_any_changed_byte_is_noticed(data: st.DataObject) -> None:
    keys = ring(f"new:{NEW}")
    sealed = keys.encrypted(Payload(metadata=JSON, data=b'{"amount": 100}'))
    place = data.draw(st.integers(0, len(sealed.data) - 1))
    flipped = bytearray(sealed.data)
    flipped[place] ^= data.draw(st.integers(1, 255))
    for changed in (bytes(flipped), sealed.data[:place]):
        with pytest.raises(PayloadTampered):
            keys.decrypted(Payload(metadata=sealed.metadata, data=changed))


def test_a_payload_cannot_be_passed_off_as_another_keys() -> None:
    sealed = ring(f"new:{NEW}").encrypted(Payload(metadata=JSON, data=b"1"))
    sealed.metadata[KEY_ID] = b"old"
    with pytest.raises(PayloadTampered):
        ring(f"old:{NEW}").decrypted(sealed)


def test_keys_rotate() -> None:
    before = ring(f"old:{OLD}").encrypted(Payload(metadata=JSON, data=b"1"))
    rotated = ring(f"new:{NEW}, old:{OLD}")
    assert rotated.decrypted(before).data == b"1"
    assert rotated.encrypted(Payload()).metadata[KEY_ID] == b"new"
    with pytest.raises(KeyMissing) as caught:
        ring(f"new:{NEW}").decrypted(before)
    assert caught.value.key_id == "old"


def test_a_key_with_a_minus_sign_only_decrypts() -> None:
    before = ring(f"old:{OLD}").encrypted(Payload(metadata=JSON, data=b"1"))
    off = ring(f"-old:{OLD}")
    assert off.decrypted(before).data == b"1"
    assert off.encrypted(before) is before
    assert ring(f"-old:{OLD},new:{NEW}").current == "new"


async def test_a_missing_key_is_logged_with_its_name(caplog: pytest.LogCaptureFixture) -> None:
    sealed = ring(f"old:{OLD}").encrypted(Payload(metadata=JSON, data=b"1"))
    with pytest.raises(KeyMissing):
        await Codec(ring(f"new:{NEW}")).decode([sealed])
    assert "no key 'old'" in caplog.text
    assert "Known here: new" in caplog.text
    assert OLD not in caplog.text


async def test_unknown_encodings_pass_and_a_doll_in_a_doll_does_not() -> None:
    foreign = Payload(metadata={"encoding": b"binary/mystery"}, data=b"\x00")
    assert await Codec(ring(f"new:{NEW}"), compress=True).decode([foreign, Payload()]) == [foreign, Payload()]
    payload, keys = Payload(metadata=JSON), ring(f"new:{NEW}")
    for _ in range(5):
        payload = keys.encrypted(payload)
    with pytest.raises(PayloadTampered):
        await Codec(keys).decode([payload])


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("abc", "id:base64"),
        (f":{NEW}", "id:base64"),
        ("a:c2hvcnQ=", "32 bytes"),
        ("a:!", "32 bytes"),
        (f"a:{NEW},-a:{OLD}", "twice"),
        (f"a b:{NEW}", "id:base64"),
    ],
)
def test_a_wrong_key_ring_stops_the_start_without_telling_a_key(
    monkeypatch: pytest.MonkeyPatch, text: str, word: str
) -> None:
    monkeypatch.setenv("PAYLOAD_KEYS", text)
    with pytest.raises(ConfigurationError) as caught:
        compose([WorkersConf])
    assert word in str(caught.value)
    assert "PAYLOAD_KEYS" in str(caught.value)
    assert NEW not in str(caught.value)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Path]:
    made = {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": {"location": tmp_path}}
    with override_settings(STORAGES={**storages.backends, "payloads": made}):
        yield tmp_path


WAYS: dict[str, dict[str, Any]] = {
    "plain": {},
    "compressed": {"payload_compression": True},
    "encrypted": {"payload_keys": None},
    "both": {"payload_keys": None, "payload_compression": True},
    "apart": {"claim_check_bytes": 300},
    "all": {"payload_keys": None, "payload_compression": True, "claim_check_bytes": 300},
}


def way(name: str, off: str = "") -> DataConverter:
    from pydantic import SecretStr

    changes = dict(WAYS[name])
    keys = f"new:{NEW}" if "payload_keys" in changes else f"-new:{NEW}"
    return data_converter(settings_with(**{**changes, "payload_keys": SecretStr(off + keys)}))


@pytest.mark.parametrize("written", WAYS)
@pytest.mark.parametrize("read", WAYS)
async def test_settings_change_and_what_was_written_stays_readable(
    store: Path, written: str, read: str
) -> None:
    values = [None, "", {"rows": list(range(1000))}, b"\x00" * 1000, ("a", {"b"})]
    assert await way(read).decode(await way(written).encode(values)) == values


async def test_large_payloads_lie_in_the_storage_once_and_sealed(store: Path) -> None:
    converter = way("apart")
    large = {"note": "hunter2" * 1000}
    encoded = [*await converter.encode([large, 1]), *await converter.encode([large])]
    assert encoded[0].ByteSize() < 400
    assert len([path for path in store.rglob("*") if path.is_file()]) == 1
    assert await converter.decode([encoded[0]]) == [large]
    await way("all").encode([{"note": os.urandom(1000).hex() + "hunter2"}])
    sealed = sorted(
        (path for path in store.rglob("*") if path.is_file()), key=lambda path: path.stat().st_mtime
    )
    assert b"hunter2" not in sealed[-1].read_bytes()


async def test_bytes_that_are_gone_or_changed_are_a_clear_error(store: Path) -> None:
    converter = way("apart")
    encoded = await converter.encode(["a" * 1000])
    [path] = [path for path in store.rglob("*") if path.is_file()]
    kept = path.read_bytes()
    path.write_bytes(kept[:-1] + b"b")
    with pytest.raises(PayloadTampered):
        await converter.decode(encoded)
    path.unlink()
    with pytest.raises(ClaimMissing, match="has no claims/"):
        await converter.decode(encoded)
    path.write_bytes(kept[:10])  # a process died while it wrote
    assert await converter.decode(await converter.encode(["a" * 1000])) == ["a" * 1000]


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "claims/aa/x", "", "signalbox.sqlite3"])
async def test_a_reference_leads_nowhere_else(store: Path, name: str) -> None:
    converter = way("apart")
    [encoded] = await converter.encode(["a" * 1000])
    [path] = [path for path in store.rglob("*") if path.is_file()]
    stored = str(path.relative_to(store)).encode()
    assert stored in encoded.data
    encoded.data = encoded.data.replace(stored, name.encode())
    with pytest.raises(ClaimMissing, match="no claim"):
        await converter.decode([encoded])


async def test_three_megabytes_are_refused_by_name_unless_they_are_stored_apart(store: Path) -> None:
    large = ["x", {"report": "x" * 3_000_000}]
    with pytest.raises(PayloadTooLarge) as caught:
        await way("plain").encode(large)
    message = caught.value.message
    assert all(
        word in message for word in ("3,000,0", "value 2 of 2", "dict", "PAYLOAD_LIMIT_BYTES", "CLAIM_CHECK")
    )
    assert await way("apart").decode(await way("apart").encode(large)) == large


def test_the_codec_is_one_that_the_sdk_knows() -> None:
    assert isinstance(codec_of(conf()), PayloadCodec)


def test_a_claim_check_above_the_limit_would_never_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLAIM_CHECK_BYTES", "2000000")
    with pytest.raises(ConfigurationError, match="CLAIM_CHECK_BYTES"):
        compose([WorkersConf])
