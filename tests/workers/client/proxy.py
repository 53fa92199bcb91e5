"""A TCP proxy before the Temporal server: it can freeze, refuse, and ask for certificates."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Proxy:
    """Forwards to `target` (host:port). `names`: the common names of the clients' certificates, in order;
    `trusted`: those that are let in (empty: all)."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.address = ""
        self.names: list[str] = []
        self.trusted: set[str] = set()
        self.flowing = asyncio.Event()
        self.flowing.set()
        self._open: set[asyncio.StreamWriter] = set()

    def cut(self) -> None:
        """End all connections; new ones are accepted."""
        for writer in list(self._open):
            writer.close()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        certificate = writer.get_extra_info("peercert")
        if certificate:
            self.names.append(certificate["subject"][0][0][1])
            if self.trusted and self.names[-1] not in self.trusted:
                writer.close()
                return
        host, _, port = self.target.rpartition(":")
        try:
            there, onwards = await asyncio.open_connection(host, int(port))
        except OSError:
            writer.close()
            return
        self._open |= {writer, onwards}
        with suppress(OSError):
            await asyncio.gather(self._pump(reader, onwards), self._pump(there, writer))
        self._open -= {writer, onwards}

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                await self.flowing.wait()
                writer.write(data)
                await writer.drain()
        finally:
            writer.close()


@asynccontextmanager
async def proxy(target: str, tls: ssl.SSLContext | None = None) -> AsyncIterator[Proxy]:
    made = Proxy(target)
    listener = await asyncio.start_server(made.serve, "127.0.0.1", 0, ssl=tls)
    made.address = f"127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    try:
        yield made
    finally:
        made.flowing.set()
        listener.close()
        made.cut()


class Authority:
    """Issues certificates for localhost and for clients, into files of a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = self._signed("authority", self._key, ca=True)
        (folder / "ca.pem").write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, file: str, common_name: str) -> None:
        """Write `<file>.pem` and `<file>.key`, in place of what is there."""
        key = ec.generate_private_key(ec.SECP256R1())
        made = self._signed(common_name, key)
        plain = serialization.NoEncryption()
        kind = serialization.PrivateFormat.PKCS8
        (self.folder / f"{file}.key").write_bytes(key.private_bytes(serialization.Encoding.PEM, kind, plain))
        (self.folder / f"{file}.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))

    def server(self, *, mutual: bool = True) -> ssl.SSLContext:
        """A server's context; `mutual`: it asks for a certificate of this authority."""
        self.issue("server", "localhost")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.folder / "server.pem", self.folder / "server.key")
        context.load_verify_locations(self.folder / "ca.pem")
        context.verify_mode = ssl.CERT_REQUIRED if mutual else ssl.CERT_NONE
        context.set_alpn_protocols(["h2"])
        return context

    def _signed(
        self, common_name: str, key: ec.EllipticCurvePrivateKey, ca: bool = False
    ) -> x509.Certificate:
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder(
            issuer_name=name if ca else self.certificate.subject,
            subject_name=name,
            public_key=key.public_key(),
            serial_number=x509.random_serial_number(),
            not_valid_before=now - timedelta(minutes=1),
            not_valid_after=now + timedelta(hours=1),
        )
        builder = builder.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        alternative = x509.SubjectAlternativeName([x509.DNSName("localhost")])
        return builder.add_extension(alternative, critical=False).sign(self._key, hashes.SHA256())
