"""Settings of the console, typed, from the environment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self, cast

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import NoDecode

from workers.conf import Conf

ROOT = Path(__file__).resolve().parent.parent
DEVELOPMENT_KEY = "development-only-never-in-production"

Words = Annotated[list[str], NoDecode]


class DashboardConf(Conf):
    """What the console needs to know about where it runs."""

    mode: Literal["development", "production"] = Field("production", alias="SIGNALBOX_MODE")
    apps: Words = Field(["orders"], alias="SIGNALBOX_APPS", description="domain apps, comma-separated")
    state_dir: Path = Field(ROOT / ".signalbox", alias="SIGNALBOX_STATE_DIR")
    secret_key: SecretStr = Field(SecretStr(""), alias="SECRET_KEY")
    allowed_hosts: Words = Field(["localhost", "127.0.0.1", "[::1]"], alias="ALLOWED_HOSTS")
    csrf_trusted_origins: Words = Field([], alias="CSRF_TRUSTED_ORIGINS")
    database_url: SecretStr | None = Field(
        None, alias="DATABASE_URL", description="default: SQLite in the state folder"
    )
    channel_redis_url: SecretStr | None = Field(
        None, alias="CHANNEL_REDIS_URL", description="default: in memory"
    )
    tenancy: Literal["off", "attribute"] = Field(
        "off", alias="TENANCY", description="attribute: scope by TenantId"
    )
    secure_cookies: bool = Field(False, alias="SECURE_COOKIES", description="true behind TLS")
    scan_limit: int = Field(
        2000, alias="SCAN_LIMIT", ge=1, le=10_000, description="open runs counted one by one"
    )
    verdict_seconds: float = Field(
        2.0, alias="VERDICT_SECONDS", gt=0, le=30, description="wait for an answer"
    )

    @field_validator("apps", "allowed_hosts", "csrf_trusted_origins", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return (
            [word.strip() for word in value.split(",") if word.strip()] if isinstance(value, str) else value
        )

    @model_validator(mode="after")
    def _secret(self) -> Self:
        if self.mode == "production" and len(self.secret_key.get_secret_value()) < 32:
            raise ValueError(
                "SECRET_KEY: set it, or a file by SECRET_KEY_FILE, to at least 32 random characters; "
                "only SIGNALBOX_MODE=development runs without"
            )
        return self

    @property
    def development(self) -> bool:
        return self.mode == "development"


def conf() -> DashboardConf:
    """The settings in force; tests change them by override_settings(DASHBOARD=...)."""
    from django.conf import settings

    return cast(DashboardConf, settings.DASHBOARD)  # type: ignore[misc] # composed in the settings module
