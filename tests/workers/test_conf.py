"""Settings: all problems at once, secrets from files, pairs that belong together."""

from __future__ import annotations

import pytest

from workers.conf import Conf, ConfigurationError, WorkersConf, compose


@pytest.fixture(autouse=True)
def bare(monkeypatch):
    for field in WorkersConf.model_fields.values():
        monkeypatch.delenv(f"{field.alias}", raising=False)
        monkeypatch.delenv(f"{field.alias}_FILE", raising=False)


def problems(*classes: type[Conf]) -> str:
    with pytest.raises(ConfigurationError) as caught:
        compose(classes or [WorkersConf])
    return str(caught.value)


def test_defaults_suffice():
    (settings,) = compose([WorkersConf])
    assert isinstance(settings, WorkersConf)
    assert settings.address == "127.0.0.1:7233"
    assert settings.namespace == "default"


def test_every_problem_is_told_by_the_name_of_its_variable(monkeypatch):
    monkeypatch.setenv("TEMPORAL_RPC_TIMEOUT", "soon")
    monkeypatch.setenv("WORKER_ACTIVITY_THREADS", "0")
    monkeypatch.setenv("TENANT_ID", "a~b")
    said = problems()
    assert all(name in said for name in ("TEMPORAL_RPC_TIMEOUT", "WORKER_ACTIVITY_THREADS", "TENANT_ID"))


@pytest.mark.parametrize(
    "address", ["http://localhost:7233", "localhost", "localhost:port", ":7233", "localhost:70000", ""]
)
def test_an_address_needs_host_and_port(monkeypatch, address):
    monkeypatch.setenv("TEMPORAL_ADDRESS", address)
    if address:
        assert "TEMPORAL_ADDRESS" in problems()
    else:
        compose([WorkersConf])  # set but empty is as good as not set


def test_a_secret_may_come_from_a_file(monkeypatch, tmp_path):
    (tmp_path / "key").write_text("s3cret\n")
    monkeypatch.setenv("TEMPORAL_API_KEY_FILE", str(tmp_path / "key"))
    (settings,) = compose([WorkersConf])
    assert isinstance(settings, WorkersConf)
    assert settings.api_key is not None
    assert settings.api_key.get_secret_value() == "s3cret"
    assert "s3cret" not in repr(settings)


def test_a_file_that_is_not_there_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("TEMPORAL_API_KEY_FILE", str(tmp_path / "none"))
    assert "TEMPORAL_API_KEY_FILE: the file cannot be read" in problems()


def test_value_and_file_together_are_refused(monkeypatch, tmp_path):
    (tmp_path / "key").write_text("one")
    monkeypatch.setenv("TEMPORAL_API_KEY_FILE", str(tmp_path / "key"))
    monkeypatch.setenv("TEMPORAL_API_KEY", "two")
    assert "both set" in problems()


def test_a_client_certificate_needs_its_key(monkeypatch, tmp_path):
    (tmp_path / "cert").touch()
    monkeypatch.setenv("TEMPORAL_TLS_CLIENT_CERT_PATH", str(tmp_path / "cert"))
    assert "must be set together" in problems()


def test_a_value_that_does_not_fit_is_not_repeated(monkeypatch):
    """An address for alerts often holds a token."""
    monkeypatch.setenv("ALERT_URL", "hooks.example/s3cret")
    assert "ALERT_URL: must be an address with http:// or https://." in problems()
    assert "s3cret" not in problems()


@pytest.mark.parametrize("name", ["WORKER_RATE_LIMITS", "WORKER_QUEUE_LIMITS"])
@pytest.mark.parametrize("value", [0, -1])
def test_a_limit_of_nothing_is_told_by_name(monkeypatch, name, value):
    monkeypatch.setenv(name, f'{{"charge_payment": {value}}}')
    with pytest.raises(ConfigurationError, match=name):
        compose([WorkersConf])
