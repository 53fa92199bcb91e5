"""The request and the answer of `call_http`, and which addresses it may call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import httpx
from pydantic import BaseModel, Field, field_validator
from temporalio.exceptions import ApplicationError

from workers.patterns.breaker.names import NOT_ALLOWED

QUEUE = "http-queue"
REFUSED = "HttpRefused"
TOO_LARGE = "HttpTooLarge"

ANSWER_HEADERS = ("content-type", "etag", "last-modified", "location", "link")
OWN_HEADERS = {"host", "content-length", "transfer-encoding", "connection", "te", "upgrade"}


class HttpCall(BaseModel):
    """One request. Its input and answer are kept in the workflow's history: put no secret into it.

    dependency: the registered breaker that stands before it ("": none).
    body: sent as JSON.
    idempotency_key: by default that of the GuardedCalls which makes the call, else one of the run and the
        activity: the same for all attempts. A POST or PATCH with a dependency needs one of the first two, as
        each try after a refusal of the breaker is another activity. Its header "" sends none.
    timeout_seconds: from the start of the attempt to the last byte of the answer; less where the attempt
        itself ends earlier.
    most_bytes: of an answer; a longer one is HttpTooLarge.
    no_effect: statuses by which this service says that nothing is done under this key, and never will be.
        Only these let a saga leave the step out when it undoes; no other failure says so.
    """

    url: str = Field(max_length=4_000)
    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"] = "GET"
    dependency: str = Field("", pattern=r"^[a-z0-9_-]{0,60}$")
    headers: dict[str, str] = Field(default_factory=dict)
    body: Any = None
    idempotency_key: str = Field("", max_length=250, pattern=r"^[\x20-\x7e]*$")
    idempotency_header: str = Field("Idempotency-Key", pattern=r"^[A-Za-z0-9-]{0,60}$")
    timeout_seconds: float = Field(10, gt=0, le=3_600)
    most_bytes: int = Field(256 * 1024, ge=1, le=1024 * 1024)
    no_effect: frozenset[int] = frozenset()

    @field_validator("headers")
    @classmethod
    def _plain(cls, headers: dict[str, str]) -> dict[str, str]:
        for name, value in headers.items():
            if name.lower() in OWN_HEADERS:
                raise ValueError(f"{name} is set by the connection itself")
            if not (name and f"{name}{value}".isprintable() and f"{name}{value}".isascii()):
                raise ValueError(f"{name!r} holds what no header may hold")
        return headers


class HttpAnswer(BaseModel):
    """`body`: what JSON says, else text; None for none. Headers in lower case, and only what callers need."""

    status: int = 0
    headers: dict[str, str] = Field(default_factory=dict)
    body: Any = None


def demand_allowed(call: HttpCall, hosts: Sequence[str]) -> None:
    """Raises the non-retryable HttpNotAllowed unless HTTP_ALLOWED_HOSTS names the host, or host:port."""
    try:
        url = httpx.URL(call.url)  # as the client reads it: another reader might see another host
    except httpx.InvalidURL as error:
        raise _not_allowed(f"The address cannot be read: {error}.") from error
    if url.scheme not in ("http", "https") or not url.host:
        raise _not_allowed("The address must begin with http:// or https://.")
    if url.userinfo:
        raise _not_allowed("The address must hold no user and no password.")
    full = f"{url.host}:{url.port or {'http': 80, 'https': 443}[url.scheme]}"
    if (url.port or 0) > 65_535:
        raise _not_allowed("There is no such port.")
    if not {url.host, full} & {known.lower() for known in hosts}:
        raise _not_allowed(f"{full} is not named in HTTP_ALLOWED_HOSTS.")


def _not_allowed(why: str) -> ApplicationError:
    return ApplicationError(why, type=NOT_ALLOWED, non_retryable=True)
