"""`make up` with something wrong: a clear sentence that says what to do, as the last line, and a failure."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.devtools.test_supervisor import any_port, refusal, up

DAMAGED = "this is no database, however long one looks at it. " * 100


@pytest.mark.parametrize("port", ["abc", "0", "65536", "-1", "8000.5", ""])
def test_a_port_that_is_none(tmp_path: Path, port: str) -> None:
    assert refusal(tmp_path, port) == f"PORT must be between 1 and 65535, not {port!r}."


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"DEMO": "yes"}, "DEMO must be 1 or 0, not 'yes'."),
        ({"TEMPORAL_CLI": "/nope"}, "TEMPORAL_CLI: /nope is not an executable."),
        ({"TEMPORAL_CLI": "/bin/true"}, "The Temporal server /bin/true ended at once: no output"),
        ({"TEMPORAL_ADDRESS": "127.0.0.1:1"}, "Temporal cannot be reached. Nothing listens there."),
        ({"TEMPORAL_ADDRESS": "nope.invalid:7233"}, "The name nope.invalid is not known."),
        ({"TEMPORAL_ADDRESS": "nohost"}, "TEMPORAL_ADDRESS: must be host:port"),
        ({"TEMPORAL_ADDRESS": "http://x"}, "TEMPORAL_ADDRESS: must be host:port"),
        ({"TEMPORAL_ADDRESS": ":7233"}, "TEMPORAL_ADDRESS: must be host:port"),
        ({"TEMPORAL_NAMESPACE": "a b"}, "TEMPORAL_NAMESPACE: must be a name without spaces and slashes."),
        ({"TEMPORAL_TLS_SERVER_CA_CERT_PATH": "/nope"}, "CA_CERT_PATH: the file /nope cannot be read."),
        ({"SIGNALBOX_APPS": "nope"}, "SIGNALBOX_APPS: there is no app nope."),
        ({"SIGNALBOX_APPS": "os"}, "SIGNALBOX_APPS: there is no app os."),
        ({"SIGNALBOX_APPS": "../x"}, "SIGNALBOX_APPS: there is no app ../x."),
        ({"SIGNALBOX_APPS": "orders,orders"}, "SIGNALBOX_APPS: orders is there twice."),
        (
            {"SIGNALBOX_STATEDIR": "x"},
            "SIGNALBOX_STATEDIR: there is no such setting. Did you mean SIGNALBOX_STATE_DIR?",
        ),
        ({"DATABASE_URL": "garbage"}, "DATABASE_URL: it has to be postgres://"),
        ({"DATABASE_URL": "mysql://a@127.0.0.1/x"}, "DATABASE_URL: it has to be postgres://"),
        (
            {"DATABASE_URL": "sqlite:////proc/x.db"},
            "DATABASE_URL: the file /proc/x.db cannot be used: No such",
        ),
        ({"WORKER_QUEUE_LIMITS": "{"}, "WORKER_QUEUE_LIMITS: must be JSON: Expecting property name"),
        ({"ALERT_URL": "notaurl"}, "ALERT_URL: must be an address with http:// or https://."),
        ({"CHANNEL_REDIS_URL": "garbage"}, "CHANNEL_REDIS_URL: must be redis://host:port/number"),
        ({"CHANNEL_REDIS_URL": "redis://127.0.0.1:1"}, "CHANNEL_REDIS_URL: Redis cannot be reached: "),
        ({"CSRF_TRUSTED_ORIGINS": "foo"}, "CSRF_TRUSTED_ORIGINS.0: must be a scheme and a host"),
        ({"ALLOWED_HOSTS": "http://x"}, "ALLOWED_HOSTS.0: must be a host name without scheme and port."),
    ],
)
def test_a_setting_that_cannot_be_meant(tmp_path: Path, settings: dict[str, str], sentence: str) -> None:
    assert sentence in refusal(tmp_path, any_port(), **settings)


@pytest.mark.parametrize(
    ("place", "why"),
    [("file", "File exists"), ("file/x", "Not a directory"), ("/proc/nope", "No such file or directory")],
)
def test_a_state_folder_that_cannot_be_made(tmp_path: Path, place: str, why: str) -> None:
    (tmp_path / "file").touch()
    reason = refusal(tmp_path, any_port(), SIGNALBOX_STATE_DIR=str(tmp_path / place))
    assert reason == f"SIGNALBOX_STATE_DIR: the folder {tmp_path / place} cannot be used: {why}."


def test_an_address_where_something_else_listens(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        assert "is it a Temporal server's gRPC port" in refusal(
            tmp_path, any_port(), TEMPORAL_ADDRESS=address
        )


def test_a_damaged_database_of_temporal_is_named(tmp_path: Path) -> None:
    (tmp_path / "temporal.db").write_text(DAMAGED)
    assert f"{tmp_path / 'temporal.db'} is damaged: put a copy back" in refusal(tmp_path, any_port())


def test_a_damaged_ledger_of_the_sandbox_is_named_and_not_tried_again(tmp_path: Path) -> None:
    ledger = tmp_path / "sandbox.sqlite3"
    ledger.write_text(DAMAGED)
    reason = refusal(tmp_path, any_port())
    assert (
        reason
        == f"sandbox cannot start: CommandError: The ledger {ledger} cannot be used: file is not a database."
    )


def test_an_empty_secret_is_made_anew(tmp_path: Path, server: str) -> None:
    """A full disk leaves an empty file; the public development key must not take its place."""
    (tmp_path / "secret_key").touch()
    process = up(tmp_path, any_port())
    assert process.stdout
    for line in process.stdout:
        if "Signalbox is open" in line:
            break
    process.terminate()
    process.communicate(timeout=60)
    assert len((tmp_path / "secret_key").read_text()) >= 50
    assert (tmp_path / "secret_key").stat().st_mode & 0o777 == 0o600
