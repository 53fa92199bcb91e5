"""Settings of the workers floor, typed, from the environment; and how every app reads its own.

An app owns a `conf.py` with a subclass of `Conf`. `compose()` reads several and reports all errors at once,
each with the name of its variable. Any variable may be given as `NAME_FILE`, the path of a file that holds
the value, which is how orchestrators hand over secrets.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, Self, cast

from pydantic import (
    AfterValidator,
    Field,
    PositiveFloat,
    PositiveInt,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)


class ConfigurationError(Exception):
    """Settings that cannot be used; `problems` has a sentence for each."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("Configuration errors:\n" + "\n".join(f"  - {problem}" for problem in problems))


class FileVariants(EnvSettingsSource):
    """Reads NAME from the file named by NAME_FILE."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        path = self.env_vars.get(f"{field.alias}_FILE".lower())
        if not path:
            return None, field.alias or field_name, False
        try:
            value = Path(path).read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError([f"{field.alias}_FILE: the file cannot be read: {error}."]) from error
        if not value:
            raise ConfigurationError([f"{field.alias}_FILE: the file {path} is empty."])
        return value, field.alias or field_name, False


class Conf(BaseSettings):
    """Base of an app's settings. The alias of a field is the name of its environment variable."""

    model_config = SettingsConfigDict(
        frozen=True, extra="ignore", env_ignore_empty=True, populate_by_name=True
    )

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource, *_: Any, **__: Any
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, EnvSettingsSource(settings_cls), FileVariants(settings_cls)


def text(pattern: str, must: str) -> AfterValidator:
    """For a field: its whole text has to match; `must` says so in words, such as "must be a host name", and
    without the value, which may hold a secret."""

    def check(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise ValueError(must)
        return value

    return AfterValidator(check)


WebAddress = Annotated[str, text(r"(https?://[^\s/]\S*)?", "must be an address with http:// or https://")]


def _not_parsed(cls: type[Conf], error: SettingsError) -> str:
    """The sentence for a value that is no JSON; pydantic names the field and not the variable."""
    named = re.search(r'field "(\w+)"', str(error))
    field = cls.model_fields.get(named[1]) if named else None
    return f"{field.alias}: must be JSON: {error.__cause__}." if field else f"{error}: {error.__cause__}."


def _sentence(error: Any) -> str:
    where = ".".join(str(part) for part in error["loc"])
    message = str(error["msg"]).removeprefix("Value error, ")
    return f"{where}: {message}." if where else f"{message}."


def compose(classes: Iterable[type[Conf]]) -> list[Conf]:
    """Read all of them, in order. Raises one ConfigurationError that names every problem of every app."""
    confs: list[Conf] = []
    problems: list[str] = []
    for cls in classes:
        both = [
            f.alias
            for f in cls.model_fields.values()
            if os.environ.get(f"{f.alias}_FILE") and os.environ.get(f.alias or "")
        ]
        problems += [f"{name} and {name}_FILE are both set; keep one of them." for name in both]
        try:
            confs.append(cls())
        except SettingsError as error:
            # pydantic wraps what a source raises, such as our sentence about a file that cannot be read.
            cause = error.__cause__
            unread = cause.problems if isinstance(cause, ConfigurationError) else []
            problems += unread or [_not_parsed(cls, error)]
        except ValidationError as error:
            problems += [_sentence(item) for item in error.errors()]
    if problems:
        raise ConfigurationError(problems)
    return confs


_KEY_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")


def parse_keys(text: str) -> tuple[dict[str, bytes], str]:
    """PAYLOAD_KEYS as keys of 32 bytes by id, and the id of the one that encrypts ("": none does).

    Raises ValueError with a sentence that holds no key.
    """
    keys: dict[str, bytes] = {}
    current = ""
    for number, item in enumerate(filter(None, map(str.strip, text.split(","))), 1):
        name, colon, value = item.partition(":")
        only_decrypts, key_id = name.startswith("-"), name.removeprefix("-").strip()
        if not colon or not _KEY_ID.fullmatch(key_id):
            raise ValueError(
                f"PAYLOAD_KEYS: key {number} must be id:base64, with an id of letters and digits"
            )
        if key_id in keys:
            raise ValueError(f"PAYLOAD_KEYS: key {key_id} is there twice")
        keys[key_id] = _key_bytes(key_id, value)
        current = current or ("" if only_decrypts else key_id)
    return keys, current


def _key_bytes(key_id: str, text: str) -> bytes:
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except binascii.Error:
        key = b""
    if len(key) != 32:
        raise ValueError(f"PAYLOAD_KEYS: key {key_id} must be the base64 of 32 bytes")
    return key


_SHORT = "must be a name of letters, digits and -"
ShortName = Annotated[str, text(r"[A-Za-z0-9_-]{0,60}", f"{_SHORT} or _")]


class WorkersConf(Conf):
    """How to reach Temporal, and how workers behave."""

    address: str = Field("127.0.0.1:7233", alias="TEMPORAL_ADDRESS", description="host:port of the frontend")
    namespace: Annotated[str, text(r"[^\s/]{1,255}", "must be a name without spaces and slashes")] = Field(
        "default", alias="TEMPORAL_NAMESPACE"
    )
    api_key: SecretStr | None = Field(None, alias="TEMPORAL_API_KEY")
    tls: bool = Field(False, alias="TEMPORAL_TLS")
    tls_server_ca: Path | None = Field(None, alias="TEMPORAL_TLS_SERVER_CA_CERT_PATH")
    tls_client_cert: Path | None = Field(None, alias="TEMPORAL_TLS_CLIENT_CERT_PATH")
    tls_client_key: Path | None = Field(None, alias="TEMPORAL_TLS_CLIENT_KEY_PATH")
    tls_server_name: str | None = Field(None, alias="TEMPORAL_TLS_SERVER_NAME")
    rpc_timeout: float = Field(
        2.0, alias="TEMPORAL_RPC_TIMEOUT", gt=0, le=60, description="seconds a page waits"
    )
    drain_seconds: float = Field(20.0, alias="WORKER_DRAIN_SECONDS", ge=0, le=3600)
    plugins: tuple[str, ...] = Field(
        (), alias="WORKER_PLUGINS", description="JSON list of modules that register workflows and activities"
    )
    deployment: ShortName = Field("", alias="WORKER_DEPLOYMENT", description="name; empty: unversioned")
    build_id: str = Field("", alias="WORKER_BUILD_ID", description="empty: computed from code and plugins")
    metrics_port: int = Field(0, alias="WORKER_METRICS_PORT", ge=0, le=65535, description="0: off")
    tuning: Literal["fixed", "resources"] = Field("fixed", alias="WORKER_TUNING")
    max_cached_workflows: int = Field(
        1000, alias="WORKER_MAX_CACHED_WORKFLOWS", ge=0, description="open runs kept in memory, per queue"
    )
    max_pollers: int = Field(
        0,
        alias="WORKER_MAX_POLLERS",
        ge=0,
        le=1000,
        description="0: the SDK's 5; else autoscaled up to this",
    )
    queue_limits: dict[str, PositiveInt] = Field(
        default_factory=dict, alias="WORKER_QUEUE_LIMITS", description="JSON: queue to activities at once"
    )
    rate_limits: dict[str, PositiveFloat] = Field(
        default_factory=dict,
        alias="WORKER_RATE_LIMITS",
        description="JSON: activity, or tenant:activity, to starts a second in one process",
    )
    tenants: tuple[str, ...] = Field(
        (), alias="WORKER_TENANTS", description="JSON list of tenants whose runs workers take; empty: all"
    )
    tenant_queues: dict[str, str] = Field(
        default_factory=dict,
        alias="TENANT_QUEUES",
        description="JSON: tenant to the suffix of the queues that its runs are started on",
    )
    queue_suffix: ShortName = Field(
        "", alias="WORKER_QUEUE_SUFFIX", description="workers poll the queues with this suffix"
    )
    log_format: Literal["plain", "json"] = Field("plain", alias="LOG_FORMAT")
    http_allowed_hosts: tuple[str, ...] = Field(
        (), alias="HTTP_ALLOWED_HOSTS", description="JSON list of host or host:port that call_http may reach"
    )
    lifecycle_audit: bool = Field(False, alias="LIFECYCLE_AUDIT", description="audit start and end of runs")
    payload_keys: SecretStr | None = Field(
        None,
        alias="PAYLOAD_KEYS",
        description="key ring: id:base64 of 32 bytes, comma-separated; -id: only decrypts",
    )
    payload_compression: bool = Field(False, alias="PAYLOAD_COMPRESSION")
    payload_secrets: Literal["refuse", "mask", "reference", "allow"] = Field(
        "refuse", alias="PAYLOAD_SECRETS", description="what happens to fields named like secrets"
    )
    redacted_fields: tuple[str, ...] = Field(
        (),
        alias="REDACTED_FIELDS",
        description="JSON list of names besides password, credit_card, ssn, api_key",
    )
    claim_check_bytes: int = Field(
        0, alias="CLAIM_CHECK_BYTES", ge=0, description="payloads from this size are stored apart; 0: none"
    )
    payload_limit_bytes: int = Field(
        1_900_000, alias="PAYLOAD_LIMIT_BYTES", ge=1_000, description="larger ones are refused by name"
    )
    alert_url: WebAddress = Field("", alias="ALERT_URL", description="where alerts are posted; empty: off")
    activity_threads: int = Field(32, alias="WORKER_ACTIVITY_THREADS", ge=1, le=1000)
    environment: Annotated[str, text(r"[a-z0-9-]{1,40}", f"{_SHORT}, in lower case")] = Field(
        "development", alias="ENVIRONMENT_ID"
    )
    tenant: Annotated[str, text(r"[^~/\s]{1,60}", "must be a name without ~, / and spaces")] = Field(
        "default", alias="TENANT_ID", description="tenant of runs launched here"
    )

    @field_validator("tls_server_ca", "tls_client_cert", "tls_client_key")
    @classmethod
    def _readable(cls, value: Path | None) -> Path | None:
        if value and not os.access(value, os.R_OK):
            raise ValueError(f"the file {value} cannot be read")
        return value

    @field_validator("address")
    @classmethod
    def _host_and_port(cls, value: str) -> str:
        found = re.fullmatch(r"([^\s:/@]+|\[[0-9A-Fa-f:.]+\]):([0-9]{1,5})", value)
        if not found or not 0 < int(found[2]) < 65_536:
            raise ValueError(f"must be host:port without a scheme, not {value!r}")
        return value

    @model_validator(mode="after")
    def _pairs(self) -> Self:
        if (self.tls_client_cert is None) != (self.tls_client_key is None):
            raise ValueError(
                "TEMPORAL_TLS_CLIENT_CERT_PATH and TEMPORAL_TLS_CLIENT_KEY_PATH must be set together"
            )
        if self.claim_check_bytes > self.payload_limit_bytes:
            raise ValueError("CLAIM_CHECK_BYTES must not be larger than PAYLOAD_LIMIT_BYTES")
        if self.payload_keys:
            parse_keys(self.payload_keys.get_secret_value())
        return self


def conf() -> WorkersConf:
    """The settings in force; tests change them by override_settings(WORKERS=...)."""
    from django.conf import settings

    return cast(WorkersConf, settings.WORKERS)  # type: ignore[misc] # composed in the settings module
