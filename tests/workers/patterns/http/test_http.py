"""`call_http` against a real HTTP server: what comes back, what is tried again, and what is never sent."""

from __future__ import annotations

import asyncio
import json
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from pydantic import ValidationError
from temporalio.client import Client
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from tests.examples.exchange import ExchangeWorkflow
from tests.golden import replayer
from tests.support import eventually
from tests.workers.patterns.breaker.guarded_services import REACHES, circuit, reaches
from workers.contracts.effects import says_no_effect
from workers.deadlines import ATTEMPT_EXPIRED
from workers.patterns.breaker.config import BreakerConfig
from workers.patterns.breaker.names import (
    NEEDS_KEY,
    NOT_ALLOWED,
    UNAVAILABLE,
    WORKFLOW_TYPE,
    breaker_id,
    current_key,
    dependency_of,
)
from workers.patterns.breaker.workflow import BreakerWorkflow
from workers.patterns.http.activities import call_http
from workers.patterns.http.messages import (
    QUEUE,
    REFUSED,
    TOO_LARGE,
    HttpAnswer,
    HttpCall,
    demand_allowed,
)


class World:
    """A server in a thread. `answers`: path to (status, headers, body), or what to do with the handler."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, dict[str, str], str]] = []
        self.answers: dict[str, Any] = {}
        world = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                text = self.rfile.read(int(self.headers.get("content-length") or 0)).decode()
                world.seen.append(
                    (self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, text)
                )
                given = world.answers.get(self.path.partition("?")[0], (404, {}, b"no such page"))
                if callable(given):
                    given(self)
                    return
                status, headers, body = given
                self.send_response(status)
                for name, value in {"content-length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = answer  # noqa: N815 (the names that the base class looks for)

            def log_message(self, *_: Any) -> None:
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(
            target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        ).start()

    def says(self, path: str, status: int, body: Any = b"", **headers: str) -> None:
        sent = body if isinstance(body, bytes) else json.dumps(body).encode()
        kind = {} if isinstance(body, bytes) else {"content-type": "application/json"}
        self.answers[path] = (status, {**kind, **{k.replace("_", "-"): v for k, v in headers.items()}}, sent)


@pytest.fixture(scope="module")
def served() -> Iterator[World]:
    made = World()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def world(served: World, settings: Any) -> World:
    served.seen.clear()
    served.answers.clear()
    settings.WORKERS = settings.WORKERS.model_copy(update={"http_allowed_hosts": ("127.0.0.1",)})
    return served


def environment_of(**info: Any) -> ActivityEnvironment:
    made = ActivityEnvironment()
    now = {"started_time": datetime.now(UTC), "scheduled_time": datetime.now(UTC)}
    made.info = replace(made.info, **{**now, "schedule_to_close_timeout": None, **info})
    return made


async def run(call: HttpCall, **info: Any) -> HttpAnswer:
    return await environment_of(**info).run(call_http, call)


async def failure(call: HttpCall, **info: Any) -> ApplicationError:
    with pytest.raises(ApplicationError) as caught:
        await run(call, **info)
    return caught.value


async def test_an_answer_with_its_json_and_few_headers(world: World) -> None:
    world.says("/rates", 201, {"rate": "1.08"}, ETag="7", Set_Cookie="secret=1")
    call = HttpCall(url=f"{world.url}/rates?to=USD", method="POST", body={"a": 1}, headers={"X-Own": "yes"})
    answer = await run(call)
    assert (answer.status, answer.body) == (201, {"rate": "1.08"})
    assert answer.headers == {"content-type": "application/json", "etag": "7"}
    method, path, headers, body = world.seen[0]
    assert (method, path, json.loads(body), headers["x-own"]) == ("POST", "/rates?to=USD", {"a": 1}, "yes")


async def test_text_nothing_and_json_that_is_none(world: World) -> None:
    world.says("/text", 200, b"pong")
    world.says("/nothing", 204)
    world.says("/lies", 200, b"<html>", content_type="application/json")
    assert [(await run(HttpCall(url=world.url + path))).body for path in ("/text", "/nothing", "/lies")] == [
        "pong",
        None,
        "<html>",
    ]


async def test_every_attempt_has_the_same_key(world: World) -> None:
    world.says("/", 200)
    once = {"workflow_run_id": "run", "activity_id": "pay"}
    for attempt in (1, 2):
        await run(HttpCall(url=f"{world.url}/", method="POST"), attempt=attempt, **once)
    await run(HttpCall(url=f"{world.url}/", idempotency_key="own", idempotency_header="X-Key"), **once)
    await run(HttpCall(url=f"{world.url}/", idempotency_header=""), **once)
    assert [headers.get("idempotency-key") for _, _, headers, _ in world.seen] == [
        "run/pay",
        "run/pay",
        None,
        None,
    ]
    assert world.seen[2][2]["x-key"] == "own"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422, 302])
async def test_a_refusal_is_an_answer_and_tells_no_secrets(world: World, status: int) -> None:
    world.says("/", status, {"error": "no", "password": "hunter2"}, location="http://elsewhere.example/")
    error = await failure(HttpCall(url=f"{world.url}/?token=t"))
    assert (error.type, error.non_retryable, error.details) == (REFUSED, True, (status,))
    assert f"answered {status}" in error.message
    assert "hunter2" not in error.message
    assert "token" not in error.message
    assert len(world.seen) == 1, "redirects may lead anywhere, so none is followed"


@pytest.mark.parametrize("status", [500, 502, 503, 504, 408, 425, 429])
async def test_what_may_pass_is_tried_again(world: World, status: int) -> None:
    world.says("/", status, b"x" * 2_000)
    error = await failure(HttpCall(url=f"{world.url}/"))
    assert (error.type, error.non_retryable, error.next_retry_delay) == (UNAVAILABLE, False, None)
    assert len(error.message) < 700


@pytest.mark.parametrize(
    ("given", "seconds"),
    [("7", 7), ("999999", 3_600), ("soon", None), ("-3", None), ("0", None), ("9" * 400, None), ("", None)],
)
async def test_retry_after_is_honoured_within_an_hour(
    world: World, given: str, seconds: float | None
) -> None:
    world.says("/", 503, retry_after=given)
    delay = (await failure(HttpCall(url=f"{world.url}/"))).next_retry_delay
    assert delay == (None if seconds is None else timedelta(seconds=seconds))


async def test_retry_after_may_be_a_date(world: World) -> None:
    world.says("/", 429, retry_after=format_datetime(datetime.now(UTC) + timedelta(minutes=5), usegmt=True))
    delay = (await failure(HttpCall(url=f"{world.url}/"))).next_retry_delay
    assert delay
    assert timedelta(minutes=3) < delay <= timedelta(minutes=5)


async def test_the_call_ends_before_its_attempt(world: World) -> None:
    released = threading.Event()
    world.answers["/"] = lambda handler: released.wait(20)
    call = HttpCall(url=f"{world.url}/", timeout_seconds=60)
    error = await failure(call, start_to_close_timeout=timedelta(seconds=0.5))
    released.set()
    assert (error.type, error.non_retryable) == (UNAVAILABLE, False)
    assert "not known" in error.message


async def test_an_answer_that_drips_is_late_too(world: World) -> None:
    released = threading.Event()

    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        while not released.wait(0.05):
            handler.wfile.write(b".")
            handler.wfile.flush()

    world.answers["/"] = drip
    error = await failure(HttpCall(url=f"{world.url}/", timeout_seconds=0.4))
    released.set()
    assert (error.type, "in time" in error.message) == (UNAVAILABLE, True)


async def test_all_phases_of_a_call_have_one_deadline(world: World) -> None:
    """Each of them is shorter than the timeout, both together are not."""

    def slowly(handler: BaseHTTPRequestHandler) -> None:
        time.sleep(0.6)
        handler.send_response(200)
        handler.send_header("content-length", "2")
        handler.end_headers()
        handler.wfile.flush()
        time.sleep(0.6)
        handler.wfile.write(b"ok")

    world.answers["/"] = slowly
    began = time.monotonic()
    error = await failure(HttpCall(url=f"{world.url}/", timeout_seconds=0.9))
    assert error.type == UNAVAILABLE
    assert time.monotonic() - began < 1.15


async def test_what_an_attempt_has_waited_is_taken_from_the_call(world: World) -> None:
    """As a rate limit or a busy worker make it wait, after it has started for the server."""
    released = threading.Event()
    world.answers["/"] = lambda handler: released.wait(20)
    attempt: Any = {"start_to_close_timeout": timedelta(seconds=10)}
    call, began = HttpCall(url=f"{world.url}/"), time.monotonic()
    late = await failure(call, started_time=datetime.now(UTC) - timedelta(seconds=7.5), **attempt)
    assert (late.type, time.monotonic() - began < 2) == (UNAVAILABLE, True)
    over = await failure(call, started_time=datetime.now(UTC) - timedelta(seconds=9), **attempt)
    released.set()
    assert (over.type, over.non_retryable) == (ATTEMPT_EXPIRED, False)
    assert len(world.seen) == 1, "an attempt that is over sends nothing"


async def test_a_call_heartbeats_and_a_cancellation_ends_it(world: World) -> None:
    released, beats = threading.Event(), list[Any]()
    world.answers["/"] = lambda handler: released.wait(20)
    environment = environment_of(heartbeat_timeout=timedelta(seconds=0.3))
    environment.on_heartbeat = lambda *details: beats.append(details)
    running = asyncio.create_task(environment.run(call_http, HttpCall(url=f"{world.url}/")))
    await eventually(lambda: len(beats) >= 3)
    environment.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(running, 2)
    released.set()


@pytest.mark.parametrize(("named", "believed"), [({402}, True), ({503}, True), (set[int](), False)])
async def test_only_a_status_that_the_call_names_says_that_nothing_happened(
    world: World, named: set[int], believed: bool
) -> None:
    world.says("/", 503 if 503 in named else 402, {"error": "no"})
    error = await failure(HttpCall(url=f"{world.url}/", no_effect=frozenset(named)), attempt=1)
    assert error.non_retryable
    assert says_no_effect(error) is believed
    assert error.details[-1] in (402, 503)


async def test_a_post_behind_a_breaker_has_one_key_for_all_its_tries(world: World) -> None:
    world.says("/", 200)
    call = HttpCall(url=f"{world.url}/", method="POST", dependency="rates")
    error = await failure(call)
    assert (error.type, error.non_retryable, world.seen) == (NEEDS_KEY, True, [])
    token = current_key.set("order-1/pay")  # as GuardedCalls' header does it
    await run(call)
    current_key.reset(token)
    await run(call.model_copy(update={"idempotency_key": "own"}))
    assert [headers["idempotency-key"] for _, _, headers, _ in world.seen] == ["order-1/pay", "own"]


async def test_nobody_listens(world: World) -> None:
    error = await failure(HttpCall(url="http://127.0.0.1:9/"))
    assert (error.type, error.non_retryable) == (UNAVAILABLE, False)


async def test_a_large_answer_is_refused(world: World) -> None:
    world.says("/", 200, b"x" * 5_000)
    error = await failure(HttpCall(url=f"{world.url}/", most_bytes=1_000))
    assert (error.type, error.non_retryable) == (TOO_LARGE, True)


@pytest.mark.parametrize(
    "url",
    [
        "http://elsewhere.example/",
        "http://allowed.example:81/",
        "http://allowed.example.evil.example/",
        "http://allowed.example@evil.example/",
        "http://user:pass@open.example/",
        "ftp://open.example/",
        "file:///etc/passwd",
        "//open.example/",
        "http://",
        "http://open.example:99999/",
        "http://open.example/\x00",
        "",
    ],
)
def test_only_named_hosts_are_reached(url: str) -> None:
    with pytest.raises(ApplicationError) as caught:
        demand_allowed(HttpCall(url=url), ("allowed.example:80", "open.example"))
    assert (caught.value.type, caught.value.non_retryable) == (NOT_ALLOWED, True)


def test_hosts_are_named_with_or_without_a_port() -> None:
    for url in ("http://allowed.example/", "HTTP://ALLOWED.example:80/x", "https://open.example:8443/"):
        demand_allowed(HttpCall(url=url), ("Allowed.example:80", "open.example"))


async def test_by_default_nothing_is_reached(settings: Any) -> None:
    settings.WORKERS = settings.WORKERS.model_copy(update={"http_allowed_hosts": ()})
    assert (await failure(HttpCall(url="http://127.0.0.1:9/"))).type == NOT_ALLOWED


@pytest.mark.parametrize(
    "wrong",
    [
        {"headers": {"Host": "evil.example"}},
        {"headers": {"X": "a\r\nY: b"}},
        {"headers": {"X": "ü"}},
        {"method": "TRACE"},
        {"idempotency_key": "a\nb"},
        {"dependency": "Not A Name"},
        {"timeout_seconds": 0},
        {"most_bytes": 10**9},
    ],
)
def test_what_no_request_may_hold(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        HttpCall.model_validate({"url": "http://open.example/", **wrong})


def test_the_call_names_its_breaker() -> None:
    assert dependency_of(call_http, [HttpCall(url="x", dependency="rates")]) == "rates"
    assert dependency_of(call_http, [HttpCall(url="x")]) == ""


async def test_a_call_waits_out_its_breaker(
    client: Client, queue: str, worker: Any, world: World, transactional_db: None
) -> None:
    """The example of the page: held while the service is away, done when it is back."""
    dependency = f"rates-{uuid.uuid4().hex[:8]}"
    world.says("/rates/USD", 503)
    async with (
        worker(QUEUE),
        worker(queue, workflows=[ExchangeWorkflow, BreakerWorkflow], activities=REACHES),
    ):
        config = BreakerConfig(dependency=dependency, threshold=2, open_seconds=1)
        shared = await client.start_workflow(
            WORKFLOW_TYPE, config, id=breaker_id(dependency), task_queue=queue
        )
        call = HttpCall(url=f"{world.url}/rates/USD", dependency=dependency)
        handle = await client.start_workflow(
            ExchangeWorkflow.run, call, id=f"exchange-{queue}", task_queue=queue
        )
        await reaches(shared, "OPEN")
        world.says("/rates/USD", 200, {"rate": "1.08"})
        assert await handle.result() == "1.08"
        await reaches(shared, "CLOSED")
        assert (await circuit(shared)).last_error
        keys = {headers["idempotency-key"] for _, _, headers, _ in world.seen}
        assert keys == {handle.id}
        await replayer(client, [ExchangeWorkflow]).replay_workflow(await handle.fetch_history())
        await shared.terminate()
