"""Settings of the console, typed, from the environment."""

from __future__ import annotations

import re
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, Self, cast

import dj_database_url
from pydantic import BeforeValidator, Field, SecretStr, field_validator, model_validator
from pydantic_settings import NoDecode

from workers.conf import Conf, text

ROOT = Path(__file__).resolve().parent.parent
DEVELOPMENT_KEY = "development-only-never-in-production"

SHORTEST_KEY = 50  # characters, as Django's own check wants
ENGINES = ("django.db.backends.sqlite3", "django.db.backends.postgresql")


def _words(value: object) -> object:
    return [word.strip() for word in value.split(",") if word.strip()] if isinstance(value, str) else value


Words = Annotated[list[str], NoDecode, BeforeValidator(_words)]
_HOST = r"[^\s/:,]+|\[[0-9A-Fa-f:.]+\]"
Host = Annotated[str, text(_HOST, "must be a host name without scheme and port")]
Origin = Annotated[
    str, text(rf"https?://({_HOST})(:\d+)?", "must be a scheme and a host, as https://a.example")
]


class AppsConf(Conf):
    """Which apps there are: read first, as each of them has settings of its own."""

    apps: Words = Field(["orders"], alias="SIGNALBOX_APPS", description="domain apps, comma-separated")

    @field_validator("apps")
    @classmethod
    def _once(cls, value: list[str]) -> list[str]:
        twice = sorted({app for app in value if value.count(app) > 1})
        if twice:
            raise ValueError(f"{', '.join(twice)} is there twice")
        return value


class DashboardConf(AppsConf):
    """What the console needs to know about where it runs."""

    mode: Literal["development", "production"] = Field("production", alias="SIGNALBOX_MODE")
    state_dir: Path = Field(ROOT / ".signalbox", alias="SIGNALBOX_STATE_DIR")
    secret_key: SecretStr = Field(SecretStr(""), alias="SECRET_KEY")
    allowed_hosts: Annotated[list[Host], NoDecode, BeforeValidator(_words)] = Field(
        ["localhost", "127.0.0.1", "[::1]"], alias="ALLOWED_HOSTS"
    )
    csrf_trusted_origins: Annotated[list[Origin], NoDecode, BeforeValidator(_words)] = Field(
        [], alias="CSRF_TRUSTED_ORIGINS"
    )
    database_url: SecretStr | None = Field(
        None, alias="DATABASE_URL", description="default: SQLite in the state folder"
    )
    channel_redis_url: SecretStr | None = Field(
        None, alias="CHANNEL_REDIS_URL", description="default: in memory"
    )
    tenancy: Literal["off", "attribute"] = Field(
        "off", alias="TENANCY", description="attribute: scope by TenantId"
    )
    audit_keys: SecretStr = Field(
        SecretStr(""), alias="AUDIT_KEYS", description="the first signs audit entries, all verify them"
    )
    require_https: bool | None = Field(
        None, alias="REQUIRE_HTTPS", description="secure cookies, HSTS, redirect; default: in production"
    )
    hsts_seconds: int = Field(31_536_000, alias="HSTS_SECONDS", ge=0, description="with REQUIRE_HTTPS")
    trusted_proxies: Words = Field(
        [], alias="TRUSTED_PROXIES", description="addresses or networks whose X-Forwarded headers count"
    )
    max_connections: int = Field(500, alias="MAX_CONNECTIONS", ge=10, description="of one web process")
    scan_limit: int = Field(
        2000, alias="SCAN_LIMIT", ge=1, le=10_000, description="open runs counted one by one"
    )
    verdict_seconds: float = Field(
        2.0, alias="VERDICT_SECONDS", gt=0, le=30, description="wait for an answer"
    )

    @field_validator("channel_redis_url")
    @classmethod
    def _redis(cls, value: SecretStr | None) -> SecretStr | None:
        if value and not re.match(r"rediss?://[^\s/]", value.get_secret_value()):
            raise ValueError("must be redis://host:port/number, or rediss:// for TLS")
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _addresses(cls, value: list[str]) -> list[str]:
        for item in value:
            try:
                ip_network(item)
            except ValueError as error:
                raise ValueError(f"{item!r} is no IP address and no network such as 10.0.0.0/8") from error
        return value

    @field_validator("database_url")
    @classmethod
    def _database(cls, value: SecretStr | None) -> SecretStr | None:
        if value and parsed_database(value).get("ENGINE") not in ENGINES:
            raise ValueError("it has to be postgres://user:password@host/name or sqlite:////path/of/a/file")
        return value

    @model_validator(mode="after")
    def _secrets(self) -> Self:
        if self.development:
            return self
        needed = {"SECRET_KEY": [self.secret_key.get_secret_value()], "AUDIT_KEYS": self.audit_ring}
        weak = [name for name, keys in needed.items() if not keys or not all(map(_strong, keys))]
        if weak:
            raise ValueError(
                f"{' and '.join(weak)}: set in the environment, or a file by the name with _FILE, at least "
                f"{SHORTEST_KEY} random characters; only SIGNALBOX_MODE=development runs without"
            )
        return self

    @property
    def audit_ring(self) -> list[str]:
        """Keys of the audit log; the first signs. In development, without any, one that everybody knows."""
        keys = [key.strip() for key in self.audit_keys.get_secret_value().split(",") if key.strip()]
        return keys or ([DEVELOPMENT_KEY] if self.development else [])

    @property
    def https(self) -> bool:
        """Are pages served by HTTPS alone?"""
        return not self.development if self.require_https is None else self.require_https

    @property
    def development(self) -> bool:
        return self.mode == "development"


def _strong(key: str) -> bool:
    return len(key) >= SHORTEST_KEY and len(set(key)) >= 10 and not key.startswith(DEVELOPMENT_KEY)


def parsed_database(url: SecretStr) -> dict[str, Any]:
    """DATABASE_URL as Django has it; empty for one that cannot be used."""
    try:
        parsed = dict(dj_database_url.parse(url.get_secret_value()))
    except (ValueError, KeyError):
        return {}
    return parsed if parsed.get("NAME") not in ("", ":memory:", None) else {}


def conf() -> DashboardConf:
    """The settings in force; tests change them by override_settings(DASHBOARD=...)."""
    from django.conf import settings

    return cast(DashboardConf, settings.DASHBOARD)  # type: ignore[misc] # composed in the settings module
