"""Claim check: what is too large for a history, or too secret, lies in a Django storage, and a reference
travels.

The storage is the alias `payloads` of the setting STORAGES, which all web and worker processes have to
share. Its bytes are what the codec made, so they are encrypted when payloads are. Large payloads are named
by the week and their SHA-256, so that sending one again within a week stores nothing new, and are checked
against it when they are read. `manage.py prune` deletes weeks that are older than all histories; a rule of
the storage may do it too. Secrets are never deleted here, as runs hand their references on for years.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from typing import Any

from django.core.files.base import ContentFile
from django.core.files.storage import Storage, storages
from google.protobuf.message import DecodeError
from pydantic_core import from_json, to_json
from temporalio import activity
from temporalio.api.common.v1 import Payload
from temporalio.converter import (
    StorageDriver,
    StorageDriverClaim,
    StorageDriverRetrieveContext,
    StorageDriverStoreContext,
)

from workers.conf import conf
from workers.payloads.codecs import Codec, codec_of
from workers.payloads.errors import ClaimMissing, PayloadTampered
from workers.payloads.limits import check

ALIAS = "payloads"
REFERENCE = "claim:"
_WEEK = r"[0-9]{4}w[0-9]{2}"
_NAME = rf"(/{_WEEK})?/[0-9a-f]{{2}}/[0-9a-f]{{32,64}}(_[A-Za-z0-9]{{1,20}})?"


def _storage() -> Storage:
    return storages[ALIAS]


def _saved(name: str, data: bytes) -> str:
    """Where `data` lies: under `name`, or beside it when another process is writing that just now."""
    storage = _storage()
    if storage.exists(name) and storage.size(name) == len(data):
        return name
    return storage.save(name, ContentFile(data))


def prune_claims(before: datetime) -> int:
    """Delete the claims of large payloads of all weeks that ended before then. Returns how many."""
    storage, deleted = _storage(), 0
    try:
        weeks, _ = storage.listdir("claims")
    except FileNotFoundError:  # none was ever stored
        return 0
    for week in weeks:
        if not re.fullmatch(_WEEK, week) or _end_of(week) >= before.date():
            continue
        for part in storage.listdir(f"claims/{week}")[0]:
            for file in storage.listdir(f"claims/{week}/{part}")[1]:
                storage.delete(f"claims/{week}/{part}/{file}")
                deleted += 1
    return deleted


def _end_of(week: str) -> date:
    return date.fromisocalendar(int(week[:4]), int(week[5:]), 7)


def _loaded(folder: str, name: str) -> bytes:
    """Raises ClaimMissing, and PayloadOversized for more than the reader takes."""
    if not re.fullmatch(folder + _NAME, name):
        raise ClaimMissing("A payload refers to something that is no claim.")
    try:
        check(_storage().size(name))
        with _storage().open(name) as file:
            return bytes(file.read())
    except FileNotFoundError as error:
        raise ClaimMissing(
            f"The storage {ALIAS!r} has no {name}, which a payload refers to. Is it shared by all processes?"
        ) from error


class DjangoStorageDriver(StorageDriver):
    """The SDK's external storage on top of Django's."""

    def name(self) -> str:
        """Stands in every reference, so it never changes."""
        return "django.storages"

    async def store(
        self, context: StorageDriverStoreContext, payloads: Sequence[Payload]
    ) -> list[StorageDriverClaim]:
        """See base class."""
        return [await asyncio.to_thread(self._store, payload) for payload in payloads]

    async def retrieve(
        self, context: StorageDriverRetrieveContext, claims: Sequence[StorageDriverClaim]
    ) -> list[Payload]:
        """Raises ClaimMissing, PayloadTampered."""
        return [await asyncio.to_thread(self._retrieve, claim) for claim in claims]

    @staticmethod
    def _store(payload: Payload) -> StorageDriverClaim:
        data = payload.SerializeToString()
        digest = hashlib.sha256(data).hexdigest()
        week = datetime.now(UTC).strftime("%Gw%V")  # of ISO 8601
        name = _saved(f"claims/{week}/{digest[:2]}/{digest}", data)
        return StorageDriverClaim(claim_data={"name": name, "sha256": digest})

    @staticmethod
    def _retrieve(claim: StorageDriverClaim) -> Payload:
        name = claim.claim_data.get("name", "")
        data = _loaded("claims", name)
        if hashlib.sha256(data).hexdigest() != claim.claim_data.get("sha256"):
            raise PayloadTampered(f"{name} in the storage {ALIAS!r} is not what was put there.")
        try:
            return Payload.FromString(data)
        except DecodeError as error:
            raise PayloadTampered(f"{name} in the storage {ALIAS!r} is not a payload.") from error


def keeper(codec: Codec) -> Callable[[Any], str]:
    """Stores a secret, encoded by `codec`, under a name that tells nothing about it."""

    def keep(value: Any) -> str:
        payload = codec.encode_one(Payload(metadata={"encoding": b"json/plain"}, data=to_json(value)))
        name = uuid.uuid4().hex
        return REFERENCE + _saved(f"secrets/{name[:2]}/{name}", payload.SerializeToString())

    return keep


def reveal(value: Any) -> Any:
    """The secret that a reference stands for, in an activity only; anything else is returned as it is.

    It reads a file: in an async activity, `await asyncio.to_thread(reveal, order.password)`.
    Raises ClaimMissing, KeyMissing, PayloadTampered; RuntimeError outside of an activity.
    """
    if not isinstance(value, str) or not value.startswith(REFERENCE):
        return value
    if not activity.in_activity():
        raise RuntimeError("Only an activity may look at what a reference stands for.")

    data = _loaded("secrets", value.removeprefix(REFERENCE))
    return from_json(codec_of(conf()).decode_one(Payload.FromString(data)).data)
