"""Django settings, composed from the typed settings of each app; errors of all apps are shown at once."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import dj_database_url

from dashboard.conf import DEVELOPMENT_KEY, ROOT, DashboardConf
from workers.conf import Conf, ConfigurationError, WorkersConf, compose


def _conf_class(app: str) -> type[Conf] | None:
    """An app's subclass of Conf in `<app>/conf.py`, if any. Names only: no floor imports the one above."""
    if find_spec(f"{app}.conf") is None:
        return None
    module = import_module(f"{app}.conf")
    own = (
        item
        for item in vars(module).values()
        if isinstance(item, type) and item.__module__ == module.__name__
    )
    return next((item for item in own if issubclass(item, Conf)), None)


_apps = [word.strip() for word in os.environ.get("SIGNALBOX_APPS", "orders").split(",") if word.strip()]
_classes = {app: cls for app in _apps if (cls := _conf_class(app))}
try:
    _confs = compose([WorkersConf, DashboardConf, *_classes.values()])
except ConfigurationError as error:
    sys.exit(str(error))
for _app, _conf in zip(["WORKERS", "DASHBOARD", *(app.upper() for app in _classes)], _confs, strict=True):
    globals()[_app] = _conf
_dashboard = next(conf for conf in _confs if isinstance(conf, DashboardConf))
_workers = next(conf for conf in _confs if isinstance(conf, WorkersConf))

DEBUG = False
DEVELOPMENT = _dashboard.development  # ours: what production refuses, such as `runworker --reload`
SECRET_KEY = _dashboard.secret_key.get_secret_value() or DEVELOPMENT_KEY
ALLOWED_HOSTS = _dashboard.allowed_hosts
CSRF_TRUSTED_ORIGINS = _dashboard.csrf_trusted_origins
ROOT_URLCONF = "dashboard.urls"
ASGI_APPLICATION = "dashboard.asgi.application"

# workers stands before channels: both have a command named runworker, and the first app wins.
INSTALLED_APPS = [
    *_apps,
    "dashboard",
    "devtools",
    "workers",
    "channels",
    "django_htmx",
    "axes",
    "ninja",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
]
MIDDLEWARE = [
    "dashboard.web.middleware.security_headers",
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "axes.middleware.AxesMiddleware",
    "dashboard.web.errors.ErrorPages",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [ROOT / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "dashboard.web.context.page",
            ],
            "builtins": ["dashboard.templatetags.signalbox"],
        },
    }
]


def _database() -> dict[str, Any]:
    if _dashboard.database_url:
        return dict(dj_database_url.parse(_dashboard.database_url.get_secret_value(), conn_max_age=0))
    _dashboard.state_dir.mkdir(parents=True, exist_ok=True)
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": _dashboard.state_dir / "signalbox.sqlite3",
        "OPTIONS": {
            "timeout": 5,
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        },
    }


DATABASES = {"default": _database()}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
CHANNEL_LAYERS: dict[str, Any] = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
if _dashboard.channel_redis_url:
    CHANNEL_LAYERS["default"] = {
        "BACKEND": "channels_redis.core.RedisChannelLayer",
        "CONFIG": {"hosts": [_dashboard.channel_redis_url.get_secret_value()]},
    }

# What workers cache is shared by all processes: a lock in the memory of one would hold back no other.
CACHES: dict[str, Any] = {
    "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
    "workers": {
        "BACKEND": "django.core.cache.backends.db.DatabaseCache",
        "LOCATION": "workers_cache",
        "OPTIONS": {"MAX_ENTRIES": 10_000},
    },
}
if _dashboard.channel_redis_url:
    CACHES["workers"] = {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": _dashboard.channel_redis_url.get_secret_value(),
        "OPTIONS": {"serializer": "workers.patterns.cache.PlainText"},
    }

AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"]
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "login"
AXES_FAILURE_LIMIT = 5
AXES_COOLOFF_TIME = 0.25  # hours
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_LOCKOUT_CALLABLE = "dashboard.web.login.locked_out"
AXES_RESET_ON_SUCCESS = True
AXES_VERBOSE = False

SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _dashboard.secure_cookies
CSRF_FAILURE_VIEW = "dashboard.web.errors.csrf_failure"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
DATA_UPLOAD_MAX_MEMORY_SIZE = 2 * 1024 * 1024
DATA_UPLOAD_MAX_NUMBER_FIELDS = 2000
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"

USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en-gb"
USE_I18N = False
STATIC_URL = "/static/"
STATIC_ROOT = _dashboard.state_dir / "static"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "payloads": {  # claim checks; several hosts need one that they share
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {"location": _dashboard.state_dir / "payloads"},
    },
    "staticfiles": {"BACKEND": "servestatic.storage.CompressedManifestStaticFilesStorage"},
}
if _dashboard.development:
    STORAGES["staticfiles"] = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "plain": {"()": "workers.process.logs.Plain"},
        "json": {"()": "workers.process.logs.Json"},
    },
    "handlers": {
        "console": {
            "class": "logging.StreamHandler",
            "formatter": _workers.log_format,
            "filters": ["context"],
        },
        "quiet": {"class": "logging.NullHandler"},
    },
    "filters": {
        "core_fields": {"()": "workers.process.logs.CoreFields"},
        "failed_attempts": {"()": "workers.process.logs.FailedAttempts"},
        "context": {"()": "workers.process.logs.Context"},
    },
    "root": {"handlers": ["console"], "level": "INFO"},
    "loggers": {
        "axes": {"level": "WARNING"},
        "httpx": {"level": "WARNING"},
        "uvicorn": {"level": "WARNING"},
        "temporalio": {"filters": ["core_fields"]},
        "temporalio.activity": {"filters": ["failed_attempts"]},
        # Any client can send any Host header; the answer 400 says enough.
        "django.security.DisallowedHost": {"handlers": ["quiet"], "propagate": False},
    },
}
