"""The gRPC calls of this process: every one has a deadline, and its certificates may be renewed meanwhile.

The SDK waits 30 seconds for a call that names no timeout, and keeps the certificates that it connected with,
so that a connection which breaks after they have expired never comes back.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import TypeVar

from google.protobuf.message import Message
from temporalio.service import ConnectConfig, ServiceClient, TLSConfig

logger = logging.getLogger(__name__)

Answer = TypeVar("Answer", bound=Message)
TLS = TLSConfig | bool | None

CERTIFICATES_SECONDS = 30.0  # between looks at the files; one that is renewed is valid for much longer
# Calls that wait for something to happen: the server ends them itself when nothing does.
_LONG_POLLS = {"poll_workflow_execution_update", "update_workflow_execution", "execute_multi_operation"}


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
