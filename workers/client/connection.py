"""The connection to Temporal: one eager client a process, and whether workers poll a queue.

Every call has a deadline, where the SDK waits 30 seconds for one that names no timeout. Certificates may be
renewed meanwhile, where the SDK keeps those that it connected with, so that a connection which breaks after
they have expired never comes back.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from google.protobuf.message import Message
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client, Interceptor
from temporalio.runtime import Runtime
from temporalio.service import ConnectConfig, RetryConfig, ServiceClient, TLSConfig

from workers.client.errors import TemporalUnavailable, rpc_errors
from workers.client.tenancy import TenancyClientInterceptor
from workers.conf import ConfigurationError, WorkersConf
from workers.conf import conf as current_conf
from workers.payloads.assembly import data_converter

# A page would rather say that Temporal is away than wait; a worker would rather wait.
_IMPATIENT = RetryConfig(max_retries=2, max_elapsed_time_millis=1000)
_WORKER_TIMEOUT = timedelta(seconds=10)
# The server forgets pollers only after five minutes; a living one comes back every minute.
POLLER_ALIVE = timedelta(seconds=70)
_POLLERS_CACHED = 2.0  # seconds

Answer = TypeVar("Answer", bound=Message)
TLS = TLSConfig | bool | None

CERTIFICATES_SECONDS = 30.0  # between looks at the files; one that is renewed is valid for much longer
# Calls that wait for something to happen: the server ends them itself when nothing does.
_LONG_POLLS = {"poll_workflow_execution_update", "update_workflow_execution", "execute_multi_operation"}

logger = logging.getLogger(__name__)
_lock = threading.Lock()
_client: Client | None = None
_for_command = False
_connecting: Future[Client] | None = None
_pollers: dict[tuple[int, str, int], tuple[float, bool]] = {}


def process_name(role: str) -> str:
    """How this process calls itself in histories and poller lists: `signalbox/<role>@<host>:<pid>`."""
    return f"signalbox/{role}@{socket.gethostname()}:{os.getpid()}"


class Service(ServiceClient):
    """A service client on a connection that may be replaced.

    `timeout`: of calls that name none. `tls`: reads the certificates anew, raises ConfigurationError.
    """

    def __init__(self, connected: ServiceClient, timeout: timedelta, tls: Callable[[], TLS]) -> None:
        super().__init__(connected.config)
        self._connected = connected
        self._timeout = timeout
        self._tls = tls
        self._look_at = time.monotonic() + CERTIFICATES_SECONDS

    @classmethod
    async def connected(cls, config: ConnectConfig, timeout: timedelta, tls: Callable[[], TLS]) -> Service:
        return cls(await ServiceClient.connect(replace(config, tls=tls())), timeout, tls)

    @property
    def worker_service_client(self):  # type: ignore[no-untyped-def] # a private class of the SDK
        """The connection itself: another object after a renewal, which running workers have to be given."""
        return self._connected.worker_service_client

    def update_rpc_metadata(self, metadata: Mapping[str, str | bytes]) -> None:
        """See base class."""
        self._connected.update_rpc_metadata(metadata)

    def update_api_key(self, api_key: str | None) -> None:
        """See base class."""
        self._connected.update_api_key(api_key)

    async def renew(self) -> None:
        """Connect anew if the certificates are others now. What fails is logged and tried again later."""
        self._look_at = time.monotonic() + CERTIFICATES_SECONDS
        try:
            config = replace(self.config, tls=self._tls())
            if config.tls == self.config.tls:
                return
            self._connected = await ServiceClient.connect(config)
        except Exception as error:  # whatever files hold that are being written just now
            logger.warning("Renewed certificates cannot be used, the old ones stay in use: %s", error)
        else:
            self.config = config
            logger.info("Connected to Temporal anew, with renewed certificates.")

    async def _rpc_call(
        self,
        rpc: str,
        req: Message,
        resp_type: type[Answer],
        *,
        service: str,
        retry: bool,
        metadata: Mapping[str, str | bytes],
        timeout: timedelta | None,
    ) -> Answer:
        if time.monotonic() > self._look_at:
            await self.renew()
        waits = rpc in _LONG_POLLS or getattr(req, "wait_new_event", False)
        return await self._connected._rpc_call(
            rpc,
            req,
            resp_type,
            service=service,
            retry=retry,
            metadata=metadata,
            timeout=timeout or (None if waits else self._timeout),
        )


def tls_config(conf: WorkersConf) -> TLSConfig | bool | None:
    """TLS as the settings say: with certificates, plain TLS, or the SDK's default (on with an API key)."""
    paths = (conf.tls_server_ca, conf.tls_client_cert, conf.tls_client_key)
    if not any(paths) and not conf.tls_server_name:
        return conf.tls or None
    try:
        ca, cert, key = (path.read_bytes() if path else None for path in paths)
    except OSError as error:
        raise ConfigurationError(
            [f"TEMPORAL_TLS_*: {error.filename} cannot be read: {error.strerror}."]
        ) from error
    return TLSConfig(
        server_root_ca_cert=ca, client_cert=cert, client_private_key=key, domain=conf.tls_server_name
    )


async def connect(
    conf: WorkersConf | None = None,
    *,
    interceptors: Sequence[Interceptor] = (),
    runtime: Runtime | None = None,
    identity: str | None = None,
    for_worker: bool = False,
) -> Client:
    """A new connection, made at once (a lazy client breaks under several event loops).

    for_worker: calls retry for ten seconds, and each may take as long. Otherwise retries give up after one
        second, as suits a page, and a call may take TEMPORAL_RPC_TIMEOUT. A call may name another timeout.
    Raises TemporalUnavailable, and ConfigurationError for certificates that cannot be read.
    """
    settings = conf or current_conf()
    timeout = _WORKER_TIMEOUT if for_worker else timedelta(seconds=settings.rpc_timeout)
    config = ConnectConfig(
        settings.address,
        api_key=settings.api_key.get_secret_value() if settings.api_key else None,
        retry_config=RetryConfig() if for_worker else _IMPATIENT,
        connect_timeout=timeout,
        identity=identity or process_name("web"),
        runtime=runtime,
    )
    with rpc_errors():
        service = await Service.connected(config, timeout, lambda: tls_config(settings))
    return Client(
        service,
        namespace=settings.namespace,
        data_converter=data_converter(settings),
        interceptors=[TenancyClientInterceptor(), *interceptors],
    )


def serve_command() -> None:
    """Let the client of this process be as patient as a worker's: a command lists more than a page does."""
    global _for_command  # noqa: PLW0603 (one client a process is the point)
    _for_command = True


async def get_client() -> Client:
    """The client of this process, connected on first use, in whichever event loop.

    The others wait for that one attempt. A failure (TemporalUnavailable) is not kept: the next call tries
    again.
    """
    global _connecting  # noqa: PLW0603 (one client a process is the point)
    with _lock:
        if _client is not None:
            return _client
        future, first = _connecting or Future(), _connecting is None
        _connecting = future
    if not first:
        return await asyncio.shield(asyncio.wrap_future(future))
    try:
        client = await connect(for_worker=_for_command)
    except BaseException as error:
        with _lock:
            _connecting = None
        future.set_exception(
            error if isinstance(error, Exception) else TemporalUnavailable("Connecting was interrupted.")
        )
        raise
    set_client(client)
    future.set_result(client)
    return client


def set_client(client: Client | None) -> None:
    """Make `client` the one of this process; None forgets it."""
    global _client, _connecting
    with _lock:
        _client, _connecting = client, None
    _pollers.clear()


WORKFLOW_TASKS = TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW
ACTIVITY_TASKS = TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY


async def last_polls(client: Client, queue: str, kind: TaskQueueType.ValueType) -> dict[str, datetime]:
    """Who polled `queue` for tasks of this kind, by identity, and when last. Raises TemporalUnavailable.

    The server forgets a poller after five minutes; see POLLER_ALIVE.
    """
    request = DescribeTaskQueueRequest(
        namespace=client.namespace, task_queue=TaskQueue(name=queue), task_queue_type=kind
    )
    with rpc_errors():
        answer = await client.workflow_service.describe_task_queue(
            request, retry=True, timeout=timedelta(seconds=current_conf().rpc_timeout)
        )
    found: dict[str, datetime] = {}
    for poller in answer.pollers:
        at = poller.last_access_time.ToDatetime(tzinfo=UTC)
        found[poller.identity] = max(at, found.get(poller.identity, at))
    return found


async def has_pollers(client: Client, queue: str, kind: TaskQueueType.ValueType = WORKFLOW_TASKS) -> bool:
    """Does a living worker poll `queue` for such tasks? At most 2 s old. Raises TemporalUnavailable."""
    key, now = (id(client), queue, kind), time.monotonic()
    known = _pollers.get(key)
    if known and now - known[0] < _POLLERS_CACHED:
        return known[1]
    alive_since = datetime.now(UTC) - POLLER_ALIVE
    alive = any(at > alive_since for at in (await last_polls(client, queue, kind)).values())
    if len(_pollers) > 1000:  # queue names may come from foreign workflows: never let them pile up
        _pollers.clear()
    _pollers[key] = (now, alive)
    return alive
