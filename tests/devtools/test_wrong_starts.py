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
    ],
)
def test_a_setting_that_cannot_be_meant(tmp_path: Path, settings: dict[str, str], sentence: str) -> None:
    assert sentence in refusal(tmp_path, any_port(), **settings)


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
