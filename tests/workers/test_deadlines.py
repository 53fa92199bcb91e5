"""Blocking calls of activities end before their attempt does, also when a service drips."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from workers.deadlines import ATTEMPT_EXPIRED, attempt_deadline, time_left
from workers.patterns.http.transport import TotalTimeoutTransport, total_timeout


def attempt(
    *, ago: float = 0, start: float | None = 10, schedule: float | None = None
) -> ActivityEnvironment:
    """An attempt that began `ago` seconds ago, with its timeouts in seconds."""
    made, began = ActivityEnvironment(), datetime.now(UTC) - timedelta(seconds=ago)
    made.info = replace(
        made.info,
        started_time=began,
        scheduled_time=began,
        start_to_close_timeout=timedelta(seconds=start) if start else None,
        schedule_to_close_timeout=timedelta(seconds=schedule) if schedule else None,
    )
    return made


def left(longest: float | None = None, **timing: Any) -> float:
    return attempt(**timing).run(time_left, longest)


def test_a_call_ends_a_reserve_before_its_attempt_does():
    assert left() == pytest.approx(8, abs=0.2)
    assert left(ago=3) == pytest.approx(5, abs=0.2)
    assert left(start=3600) == pytest.approx(3595, abs=0.2)
    assert left(start=60, schedule=10) == pytest.approx(8, abs=0.2)


def test_the_timeout_of_a_service_is_an_upper_bound():
    assert left(3) == 3
    assert left(30) == pytest.approx(8, abs=0.2)


def test_without_a_timeout_there_is_no_other_bound():
    assert left(start=None) == float("inf")
    assert left(7, start=None) == 7
    assert time_left(3) == 3


def test_a_clock_behind_the_servers_shortens_nothing():
    assert 8 <= left(ago=-30, start=10) <= 40.2


def test_an_attempt_whose_time_is_over_begins_no_call():
    with pytest.raises(ApplicationError, match=r"began 12\.\d s ago and has no time left") as caught:
        left(ago=12)
    assert caught.value.type == ATTEMPT_EXPIRED
    assert not caught.value.non_retryable


def test_the_deadline_is_the_earlier_of_both_timeouts():
    info = attempt(start=10, schedule=4).info
    assert attempt_deadline(info) == info.scheduled_time + timedelta(seconds=4)
    assert attempt_deadline(attempt(start=None).info) is None


@contextmanager
def dripping(head: bytes) -> Iterator[str]:
    """A service that sends `head` byte by byte, ten a second. Yields its URL."""
    over = threading.Event()

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            for byte in head:
                if over.wait(0.1):
                    return
                try:
                    connection.send(bytes([byte]))
                except OSError:
                    return

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=[listener])
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        finally:
            over.set()
            thread.join()


@pytest.mark.parametrize(
    "rest",
    [b"x: y\r\n" * 50, b"content-length: 900\r\n\r\n" + b"x" * 900],
    ids=["its header", "its body"],
)
def test_a_service_that_drips_is_cut_off_in_time(rest: bytes):
    transport = TotalTimeoutTransport(httpx.Limits(max_connections=4))
    began = time.monotonic()
    with (
        dripping(b"HTTP/1.1 200 OK\r\n" + rest) as url,
        httpx.Client(transport=transport, timeout=5) as client,
        total_timeout(0.6),
        pytest.raises(httpx.TimeoutException),
    ):
        client.get(url)
    assert time.monotonic() - began < 2
