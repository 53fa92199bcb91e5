"""The real sandbox, served in a thread on a free port, and what tests ask it."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette

from orders.sandbox.app import create
from orders.sandbox.ledger import Ledger


@dataclass
class Sandbox:
    """Its address and a client; `fault` breaks or heals a service."""

    url: str
    http: httpx.Client

    def fault(self, service: str, mode: str = "none", **more: Any) -> None:
        self.http.put(f"/faults/{service}", json={"mode": mode, **more}).raise_for_status()

    def ledger(self, order_id: str) -> dict[str, Any]:
        return self.http.get("/ledger", params={"order_id": order_id}).json()


@pytest.fixture(scope="session")
def sandbox_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Starlette, str]]:
    """The service, once a run; each test gets a ledger of its own."""
    app = create(Ledger(tmp_path_factory.mktemp("sandbox") / "ledger.sqlite3"))
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        deadline = time.monotonic() + 10
        while not server.started:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        yield app, f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join(10)


@pytest.fixture
def sandbox(sandbox_server: tuple[Starlette, str], tmp_path: Path, settings: Any) -> Iterator[Sandbox]:
    app, url = sandbox_server
    app.state.ledger = Ledger(tmp_path / "ledger.sqlite3")
    settings.ORDERS = settings.ORDERS.model_copy(update={"sandbox_url": url, "gateway_timeout": 0.5})
    with httpx.Client(base_url=url, timeout=10, trust_env=False) as http:
        yield Sandbox(url, http)
