"""Settings of the console: what production refuses, what is safe by default, and who may read its files."""

from __future__ import annotations

import json
import os
import secrets
import socket
import stat
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.core.management import CommandError, call_command
from django.http import HttpResponse
from django.middleware.security import SecurityMiddleware

from dashboard.conf import DEVELOPMENT_KEY, DashboardConf
from dashboard.private_files import private_database
from workers.conf import Conf, ConfigurationError, compose

ROOT = Path(__file__).resolve().parent.parent.parent
KEY = secrets.token_urlsafe(48)
PRODUCTION = {
    "SIGNALBOX_MODE": "production",
    "SECRET_KEY": KEY,
    "AUDIT_KEYS": KEY,
    "ALLOWED_HOSTS": "a.example",
}


@pytest.fixture
def environment(monkeypatch):
    """Sets variables, after all that are known were removed."""
    for field in DashboardConf.model_fields.values():
        monkeypatch.delenv(str(field.alias), raising=False)

    def put(**variables: str) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return put


def problems(*classes: type[Conf]) -> str:
    with pytest.raises(ConfigurationError) as caught:
        compose(classes or [DashboardConf])
    return str(caught.value)


def clean() -> dict[str, str]:
    """The environment without any settings of ours."""
    ours = {str(field.alias) for field in DashboardConf.model_fields.values()} | {"DJANGO_SETTINGS_MODULE"}
    return {name: value for name, value in os.environ.items() if name not in ours}


def manage(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """`manage.py` with these settings and no others of ours."""
    command = [sys.executable, str(ROOT / "manage.py"), *words]
    return subprocess.run(command, env={**clean(), **variables}, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "key", ["", "short", DEVELOPMENT_KEY, f"{DEVELOPMENT_KEY}-and-some-more-of-it", "a" * 60]
)
def test_production_refuses_a_weak_key(environment, key):
    environment(SIGNALBOX_MODE="production", SECRET_KEY=key, AUDIT_KEYS=KEY)
    assert "SECRET_KEY: " in problems()
    environment(SECRET_KEY=KEY, AUDIT_KEYS=key)
    assert "AUDIT_KEYS: " in problems()
    environment(AUDIT_KEYS=f"{KEY}, {secrets.token_urlsafe(48)}")
    compose([DashboardConf])


@pytest.mark.parametrize(
    "url", ["garbage", "mysql://a:hunter2@b/c", "sqlite://", "sqlite://:memory:", "postgres://host/", ""]
)
def test_other_databases_are_refused_without_a_word_of_the_password(environment, url):
    environment(SIGNALBOX_MODE="development", DATABASE_URL=url)
    if url:
        assert "DATABASE_URL: " in problems()
        assert "hunter2" not in problems()
    else:
        compose([DashboardConf])


@pytest.mark.parametrize("proxies", ["*", "proxy.example", "10.0.0.1/8"])
def test_a_proxy_is_an_address(environment, proxies):
    environment(SIGNALBOX_MODE="development", TRUSTED_PROXIES=proxies)
    assert "TRUSTED_PROXIES: " in problems()


def test_https_is_demanded_in_production_unless_it_is_said_otherwise(environment):
    environment(**PRODUCTION)
    [conf] = compose([DashboardConf])
    assert isinstance(conf, DashboardConf)
    assert conf.https
    assert not conf.model_copy(update={"require_https": False}).https
    assert not conf.model_copy(update={"mode": "development"}).https


def test_the_deployment_check_is_clean(tmp_path):
    ran = manage("check", "--deploy", **PRODUCTION, SIGNALBOX_STATE_DIR=str(tmp_path))
    assert "no issues" in ran.stdout + ran.stderr, ran.stderr


def test_probes_are_not_redirected(settings, rf):
    settings.SECURE_SSL_REDIRECT = True
    middleware = SecurityMiddleware(lambda request: HttpResponse())
    answers = {path: middleware(rf.get(path)).status_code for path in ("/healthz", "/readyz", "/login/")}
    assert answers == {"/healthz": 200, "/readyz": 200, "/login/": 301}


def test_a_server_that_could_only_redirect_does_not_start(tmp_path):
    ran = manage("runweb", **PRODUCTION, SIGNALBOX_STATE_DIR=str(tmp_path))
    assert ran.returncode == 1
    assert "TRUSTED_PROXIES" in ran.stderr


def test_the_log_of_the_server_has_the_format_of_the_settings(tmp_path):
    """uvicorn's own lines too, here of a request that is none."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, str(ROOT / "manage.py"), "runweb", "--port", str(port)]
    variables = {**PRODUCTION, "REQUIRE_HTTPS": "false", "LOG_FORMAT": "json"}
    environment = {**clean(), **variables, "SIGNALBOX_STATE_DIR": str(tmp_path)}
    environment["TEMPORAL_ADDRESS"] = "127.0.0.1:1"
    (tmp_path / "static").mkdir()
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as server:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 5) as connection:
                connection.sendall(b"this is no request\r\n\r\n")
                connection.recv(100)
                break
            time.sleep(0.1)
        server.terminate()
        _, lines = server.communicate(timeout=30)
    logged = [json.loads(line) for line in lines.splitlines()]
    assert any(line["logger"] == "uvicorn.error" and "Invalid HTTP" in line["message"] for line in logged)


def test_every_problem_of_the_settings_is_a_line(tmp_path):
    wrong = {"SIGNALBOX_APPS": "nope,orders", "DATABASE_URL": "garbage", "TEMPORAL_ADDRESS": "x"}
    ran = manage("up", SIGNALBOX_MODE="development", SIGNALBOX_STATE_DIR=str(tmp_path), **wrong)
    assert ran.returncode == 1
    lines = ran.stderr.splitlines()
    assert lines[0] == "Configuration errors:"
    assert [line.split(":")[0].strip(" -") for line in lines[1:]] == [
        "SIGNALBOX_APPS",
        "TEMPORAL_ADDRESS",
        "DATABASE_URL",
    ]


def test_what_kubernetes_sets_for_a_service_of_our_name_is_no_mistake():
    names = ("PORT", "SERVICE_HOST", "SERVICE_PORT_HTTP", "PORT_8000_TCP_ADDR", "WEB_SERVICE_HOST")
    variables = {f"SIGNALBOX_{name}": "x" for name in names}
    ran = manage("check", SIGNALBOX_MODE="development", **variables)
    assert ran.returncode == 0, ran.stderr


def test_apps_may_come_from_a_file(tmp_path):
    (tmp_path / "apps").write_text("nope")
    ran = manage("check", SIGNALBOX_MODE="development", SIGNALBOX_APPS_FILE=str(tmp_path / "apps"))
    assert "SIGNALBOX_APPS: there is no app nope." in ran.stderr


def test_an_empty_file_of_a_secret_is_a_mistake(environment, tmp_path):
    (tmp_path / "key").touch()
    environment(SIGNALBOX_MODE="development", SECRET_KEY_FILE=str(tmp_path / "key"))
    assert "SECRET_KEY_FILE: " in problems()


def test_sqlite_by_url_keeps_what_the_audit_rests_on(tmp_path):
    code = (
        "from django.db import connection as c; k = c.cursor(); k.execute('PRAGMA journal_mode');"
        "print(k.fetchone()[0], c.settings_dict['OPTIONS']['transaction_mode'])"
    )
    path = tmp_path / "by-url.sqlite3"
    ran = manage("shell", "-v0", "-c", code, SIGNALBOX_MODE="development", DATABASE_URL=f"sqlite:///{path}")
    assert ran.stdout.split() == ["wal", "IMMEDIATE"], ran.stderr
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_database_and_its_folder_are_for_their_owner_alone(tmp_path):
    before = os.umask(0o022)
    try:
        state = tmp_path / "state"
        ran = manage("migrate", "-v0", SIGNALBOX_MODE="development", SIGNALBOX_STATE_DIR=str(state))
        assert ran.returncode == 0, ran.stderr
        assert mode(state) == 0o700
        assert {mode(file) for file in state.iterdir()} == {0o600}
        state.chmod(0o755)
        (state / "signalbox.sqlite3").chmod(0o644)
        private_database(state / "signalbox.sqlite3", state)
        assert (mode(state), mode(state / "signalbox.sqlite3")) == (0o700, 0o600)
    finally:
        os.umask(before)


def test_a_state_folder_that_cannot_be_is_a_sentence(tmp_path):
    (tmp_path / "file").touch()
    ran = manage("check", SIGNALBOX_MODE="development", SIGNALBOX_STATE_DIR=str(tmp_path / "file" / "state"))
    assert ran.stderr.strip().startswith("SIGNALBOX_STATE_DIR: the folder ")
    assert "Traceback" not in ran.stderr
    assert ran.returncode == 1


def test_stored_payloads_are_for_their_owner_alone(settings):
    before = os.umask(0o022)
    try:
        storage = storages.create_storage(settings.STORAGES["payloads"])
        name = storage.save("private/file", ContentFile(b"x"))
        assert mode(Path(storage.path(name))) == 0o600
        assert mode(Path(storage.path(name)).parent) == 0o700
    finally:
        os.umask(before)


@pytest.mark.django_db
def test_demo_users_are_refused_in_production(settings):
    settings.DASHBOARD = settings.DASHBOARD.model_copy(update={"mode": "production"})
    with pytest.raises(CommandError, match="development"):
        call_command("demo_users")


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("name", "band"),
    [("prod-eu", True), ("live", True), ("Staging", True), ("staging", False), ("test", False)],
)
def test_every_other_environment_wears_the_band(settings, rf, name, band):
    from dashboard.web.context import page

    settings.WORKERS = settings.WORKERS.model_copy(update={"environment": name})
    assert page(rf.get("/"))["production"] == band
