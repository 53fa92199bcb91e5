"""The search attributes of the platform, and how attributes are registered and compared.

The budget of SQL visibility is 10 keywords and 3 of each other type; these take 5 keywords, a keyword list
and a datetime.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from typing import Any

from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, ListSearchAttributesRequest
from temporalio.client import Client
from temporalio.common import SearchAttributeKey

from workers.client.errors import BadQuery, TemporalUnavailable, rpc_errors

TENANT_ID = SearchAttributeKey.for_keyword("TenantId")
ENVIRONMENT_ID = SearchAttributeKey.for_keyword("EnvironmentId")
STAGE = SearchAttributeKey.for_keyword("Stage")
SAGA_STATE = SearchAttributeKey.for_keyword("SagaState")
WAITING_FOR = SearchAttributeKey.for_keyword_list("WaitingFor")
CIRCUIT_STATE = SearchAttributeKey.for_keyword("CircuitState")
DEADLINE = SearchAttributeKey.for_datetime("Deadline")

Key = SearchAttributeKey[Any]

PLATFORM: tuple[Key, ...] = (
    TENANT_ID,
    ENVIRONMENT_ID,
    STAGE,
    SAGA_STATE,
    WAITING_FOR,
    CIRCUIT_STATE,
    DEADLINE,
)

_REFRESH_SECONDS = 30.0  # every server's cache of a namespace is renewed well within this


class AttributeMismatch(Exception):
    """Attributes that cannot be used as declared; `problems` has a sentence for each."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__(" ".join(problems))


def _type_name(value: int) -> str:
    try:
        name = IndexedValueType.Name(IndexedValueType.ValueType(value))
        return name.removeprefix("INDEXED_VALUE_TYPE_").lower()
    except ValueError:  # a newer server may know more types
        return f"type {value}"


async def registered(client: Client) -> dict[str, IndexedValueType.ValueType]:
    """The custom search attributes of the client's namespace, name to type. Raises TemporalUnavailable."""
    request = ListSearchAttributesRequest(namespace=client.namespace)
    with rpc_errors():
        answer = await client.operator_service.list_search_attributes(request, retry=True)
    return dict(answer.custom_attributes)


def lacking(known: Mapping[str, int], keys: Iterable[Key]) -> list[str]:
    """Names among `keys` that are not among the registered ones, sorted."""
    return sorted({key.name for key in keys} - known.keys())


def mismatches(known: Mapping[str, int], keys: Iterable[Key]) -> list[str]:
    """A sentence for each of `keys` that is registered with another type: the server ignores a second
    registration of a name, so we must compare."""
    return [
        f"Search attribute {key.name} is of type {_type_name(known[key.name])} on the server, "
        f"but must be {_type_name(key.indexed_value_type)}."
        for key in keys
        if key.name in known and int(known[key.name]) != int(key.indexed_value_type)
    ]


async def missing(client: Client, keys: Iterable[Key]) -> list[str]:
    """Names among `keys` that the namespace does not have."""
    return lacking(await registered(client), keys)


async def compare(client: Client, keys: Iterable[Key]) -> list[str]:
    """Names that are missing; raises AttributeMismatch if any has another type. Changes nothing."""
    keys = list(keys)
    known = await registered(client)
    if problems := mismatches(known, keys):
        raise AttributeMismatch(problems)
    return lacking(known, keys)


async def ensure(client: Client, keys: Iterable[Key]) -> None:
    """Register those of `keys` that are missing and wait until the server accepts them in queries.

    Raises AttributeMismatch (all problems at once, or no slot is left) and TemporalUnavailable.
    """
    keys = list(keys)
    absent = await compare(client, keys)
    if not absent:
        return
    types = {
        key.name: IndexedValueType.ValueType(key.indexed_value_type) for key in keys if key.name in absent
    }
    request = AddSearchAttributesRequest(namespace=client.namespace, search_attributes=types)
    try:
        with rpc_errors():
            await client.operator_service.add_search_attributes(request, retry=True)
    except BadQuery as error:
        raise AttributeMismatch(
            [f"The server cannot register search attributes: {error.message}."]
        ) from error
    await _usable(client, absent)
    # Another process may have registered the same name at the same moment, with another type.
    await compare(client, keys)


async def _usable(client: Client, names: list[str]) -> None:
    """Wait until every cache knows the new names: until then the server calls them invalid arguments."""
    query = " AND ".join(f"{name} IS NULL" for name in names)
    deadline = time.monotonic() + _REFRESH_SECONDS
    while True:
        try:
            with rpc_errors():
                await client.count_workflows(query)
        except BadQuery as error:
            if time.monotonic() > deadline:
                raise TemporalUnavailable(
                    f"The new search attributes do not become usable: {error.message}."
                ) from error
            await asyncio.sleep(0.2)
        else:
            return
