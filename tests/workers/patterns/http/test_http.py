"""`call_http` against a real HTTP server: what comes back, what is tried again, and what is never sent."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from pydantic import ValidationError
from temporalio import workflow
from temporalio.client import Client
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from tests.examples.exchange import ExchangeWorkflow
from tests.golden import replayer
from tests.workers.patterns.breaker.guarded_services import REACHES, circuit, reaches
from workers.patterns.breaker.names import (
    UNAVAILABLE,
    WORKFLOW_TYPE,
    BreakerConfig,
    breaker_id,
    current_key,
    dependency_of,
)
from workers.patterns.breaker.workflow import BreakerWorkflow
from workers.patterns.http.activities import call_http
from workers.patterns.http.messages import (
    NO_KEY,
    NOT_ALLOWED,
    REFUSED,
    TOO_LARGE,
    HttpAnswer,
    HttpCall,
    demand_allowed,
)
from workers.registry.queues import PLATFORM

with workflow.unsafe.imports_passed_through():
    from workers.patterns.decisions import NO_BODY, lenient_signal
    from workers.patterns.guarded_calls import GuardedCalls


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


def run(call: HttpCall, **info: Any) -> HttpAnswer:
    environment = ActivityEnvironment()
    environment.info = replace(environment.info, **info)
    answer: HttpAnswer = environment.run(call_http, call)
    return answer


def failure(call: HttpCall, **info: Any) -> ApplicationError:
    with pytest.raises(ApplicationError) as caught:
        run(call, **info)
    return caught.value


def test_an_answer_with_its_json_and_few_headers(world: World) -> None:
    world.says("/rates", 201, {"rate": "1.08"}, ETag="7", Set_Cookie="secret=1")
    call = HttpCall(url=f"{world.url}/rates?to=USD", method="POST", body={"a": 1}, headers={"X-Own": "yes"})
    answer = run(call)
    assert (answer.status, answer.body) == (201, {"rate": "1.08"})
    assert answer.headers == {"content-type": "application/json", "etag": "7"}
    method, path, headers, body = world.seen[0]
    assert (method, path, json.loads(body), headers["x-own"]) == ("POST", "/rates?to=USD", {"a": 1}, "yes")


def test_text_nothing_and_json_that_is_none(world: World) -> None:
    world.says("/text", 200, b"pong")
    world.says("/nothing", 204)
    world.says("/lies", 200, b"<html>", content_type="application/json")
    assert [run(HttpCall(url=world.url + path)).body for path in ("/text", "/nothing", "/lies")] == [
        "pong",
        None,
        "<html>",
    ]


def test_every_attempt_has_the_same_key(world: World) -> None:
    world.says("/", 200)
    once = {"workflow_run_id": "run", "activity_id": "pay"}
    for attempt in (1, 2):
        run(HttpCall(url=f"{world.url}/", method="POST"), attempt=attempt, **once)
    run(HttpCall(url=f"{world.url}/", idempotency_key="own", idempotency_header="X-Key"), **once)
    run(HttpCall(url=f"{world.url}/", idempotency_header=""), **once)
    assert [headers.get("idempotency-key") for _, _, headers, _ in world.seen] == [
        "run/pay",
        "run/pay",
        None,
        None,
    ]
    assert world.seen[2][2]["x-key"] == "own"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422, 302])
def test_a_refusal_is_an_answer_and_tells_no_secrets(world: World, status: int) -> None:
    world.says("/", status, {"error": "no", "password": "hunter2"}, location="http://elsewhere.example/")
    error = failure(HttpCall(url=f"{world.url}/?token=t"))
    assert (error.type, error.non_retryable, error.details) == (REFUSED, True, (status,))
    assert f"answered {status}" in error.message
    assert "hunter2" not in error.message
    assert "token" not in error.message
    assert len(world.seen) == 1, "redirects may lead anywhere, so none is followed"


@pytest.mark.parametrize("status", [500, 502, 503, 504, 408, 425, 429])
def test_what_may_pass_is_tried_again(world: World, status: int) -> None:
    world.says("/", status, b"x" * 2_000)
    error = failure(HttpCall(url=f"{world.url}/"))
    assert (error.type, error.non_retryable, error.next_retry_delay) == (UNAVAILABLE, False, None)
    assert len(error.message) < 700


@pytest.mark.parametrize(
    ("given", "seconds"),
    [("7", 7), ("999999", 3_600), ("soon", None), ("-3", None), ("0", None), ("9" * 400, None), ("", None)],
)
def test_retry_after_is_honoured_within_an_hour(world: World, given: str, seconds: float | None) -> None:
    world.says("/", 503, retry_after=given)
    delay = failure(HttpCall(url=f"{world.url}/")).next_retry_delay
    assert delay == (None if seconds is None else timedelta(seconds=seconds))


def test_retry_after_may_be_a_date(world: World) -> None:
    world.says("/", 429, retry_after=format_datetime(datetime.now(UTC) + timedelta(minutes=5), usegmt=True))
    delay = failure(HttpCall(url=f"{world.url}/")).next_retry_delay
    assert delay
    assert timedelta(minutes=3) < delay <= timedelta(minutes=5)


def test_the_call_ends_before_its_attempt(world: World) -> None:
    released = threading.Event()
    world.answers["/"] = lambda handler: released.wait(20)
    call = HttpCall(url=f"{world.url}/", timeout_seconds=60)
    error = failure(call, start_to_close_timeout=timedelta(seconds=0.5))
    released.set()
    assert (error.type, error.non_retryable) == (UNAVAILABLE, False)
    assert "not known" in error.message


def test_an_answer_that_drips_is_late_too(world: World) -> None:
    released = threading.Event()

    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        while not released.wait(0.05):
            handler.wfile.write(b".")
            handler.wfile.flush()

    world.answers["/"] = drip
    error = failure(HttpCall(url=f"{world.url}/", timeout_seconds=0.4))
    released.set()
    assert (error.type, "in time" in error.message) == (UNAVAILABLE, True)


def test_nobody_listens(world: World) -> None:
    error = failure(HttpCall(url="http://127.0.0.1:9/"))
    assert (error.type, error.non_retryable) == (UNAVAILABLE, False)


def test_a_large_answer_is_refused(world: World) -> None:
    world.says("/", 200, b"x" * 5_000)
    error = failure(HttpCall(url=f"{world.url}/", most_bytes=1_000))
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


def test_by_default_nothing_is_reached(settings: Any) -> None:
    settings.WORKERS = settings.WORKERS.model_copy(update={"http_allowed_hosts": ()})
    assert failure(HttpCall(url="http://127.0.0.1:9/")).type == NOT_ALLOWED


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


def test_a_post_behind_a_breaker_needs_a_key_that_outlives_its_activity(world: World) -> None:
    world.says("/pay", 200)
    post = HttpCall(url=f"{world.url}/pay", method="POST", dependency="bank")
    assert (failure(post).type, world.seen) == (NO_KEY, [])
    run(post.model_copy(update={"idempotency_key": "order-1"}))
    token = current_key.set("of the guarded call")
    try:
        run(post)
    finally:
        current_key.reset(token)
    run(post.model_copy(update={"idempotency_header": ""}))
    run(post.model_copy(update={"method": "GET"}))
    keys = [headers.get("idempotency-key") for _, _, headers, _ in world.seen]
    assert keys == ["order-1", "of the guarded call", None, "test-run/test"]


@workflow.defn
class Paying:
    """Posts behind a breaker, without a key of its own."""

    def __init__(self) -> None:
        self.holds = GuardedCalls(retry_seconds=600)

    @workflow.run
    async def run(self, call: HttpCall) -> None:
        timeout = timedelta(seconds=15)
        await self.holds.call(call_http, call, task_queue=PLATFORM, start_to_close_timeout=timeout)

    @workflow.signal
    @lenient_signal
    def resume(self, raw: RawValue = NO_BODY) -> None:
        self.holds.resume(raw)


async def test_a_post_that_a_breaker_refused_goes_out_again_under_its_key(
    client: Client, queue: str, worker: Any, world: World, transactional_db: None
) -> None:
    """The first try may have landed unheard; the refusal of the second makes the third another activity."""
    dependency = f"bank-{uuid.uuid4().hex[:8]}"
    world.says("/pay", 503)
    workflows = [Paying, BreakerWorkflow]
    async with worker(PLATFORM), worker(queue, workflows=workflows, activities=REACHES):
        config = BreakerConfig(dependency=dependency, threshold=1, open_seconds=1)
        shared = await client.start_workflow(
            WORKFLOW_TYPE, config, id=breaker_id(dependency), task_queue=queue
        )
        await circuit(shared)
        call = HttpCall(url=f"{world.url}/pay", method="POST", dependency=dependency)
        handle = await client.start_workflow(Paying.run, call, id=f"paying-{queue}", task_queue=queue)
        await reaches(shared, "OPEN")
        world.says("/pay", 200)
        await handle.result()
        await shared.terminate()
    keys = [headers["idempotency-key"] for _, _, headers, _ in world.seen]
    assert len(keys) >= 2
    assert len(set(keys)) == 1


async def test_a_call_waits_out_its_breaker(
    client: Client, queue: str, worker: Any, world: World, transactional_db: None
) -> None:
    """The example of the page: held while the service is away, done when it is back."""
    dependency = f"rates-{uuid.uuid4().hex[:8]}"
    world.says("/rates/USD", 503)
    async with (
        worker(PLATFORM),
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
