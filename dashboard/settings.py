"""Django settings, composed from the typed settings of each app; errors of all apps are shown at once."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from difflib import get_close_matches
from importlib import import_module
from importlib.util import find_spec
from typing import Any, cast

from django.core.exceptions import ImproperlyConfigured

from dashboard.conf import DEVELOPMENT_KEY, ROOT, AppsConf, DashboardConf, parsed_database
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


def _missing(app: str) -> bool:
    """There is no such package; a module that is none, such as `os`, cannot be an app."""
    try:
        spec = find_spec(app)
    except (ImportError, ValueError):  # a package that it is said to be in, or no name at all
        return True
    return spec is None or spec.submodule_search_locations is None


# What Kubernetes sets for a service that is named signalbox, or signalbox-something.
_INJECTED = re.compile(r"SIGNALBOX_(\w+_)?(SERVICE_HOST|SERVICE_PORT\w*|PORT|PORT_\d+_\w+)")


def _unknown(classes: Iterable[type[Conf]]) -> list[str]:
    """A sentence for each variable with our prefix that is no setting: a misspelt one would be ignored."""
    known = {str(field.alias) for cls in classes for field in cls.model_fields.values()}
    known |= {f"{name}_FILE" for name in known}
    found = [name for name in os.environ if name.startswith("SIGNALBOX_") and name not in known]
    problems = []
    for name in sorted(found):
        if not _INJECTED.fullmatch(name):
            near = get_close_matches(name, known, 1, cutoff=0.8)
            hint = f" Did you mean {near[0]}?" if near else ""
            problems.append(f"{name}: there is no such setting.{hint}")
    return problems


def _composed() -> dict[str, Conf]:
    """The settings of every app by the name of its app. Raises ConfigurationError."""
    [named] = compose([AppsConf])
    apps = cast(AppsConf, named).apps
    problems = [f"SIGNALBOX_APPS: there is no app {app}." for app in apps if _missing(app)]
    found = {app: cls for app in apps if not _missing(app) and (cls := _conf_class(app))}
    classes: dict[str, type[Conf]] = {"workers": WorkersConf, "dashboard": DashboardConf, **found}
    problems += _unknown(classes.values())
    try:
        confs = compose(classes.values())
    except ConfigurationError as error:
        raise ConfigurationError([*problems, *error.problems]) from error
    if problems:
        raise ConfigurationError(problems)
    return dict(zip(classes, confs, strict=True))


try:
    _confs = _composed()
except ConfigurationError as error:
    raise ImproperlyConfigured(str(error)) from error
for _app, _conf in _confs.items():
    globals()[_app.upper()] = _conf
_dashboard = cast(DashboardConf, _confs["dashboard"])
_workers = cast(WorkersConf, _confs["workers"])

DEBUG = False
DEVELOPMENT = _dashboard.development  # ours: what production refuses, such as `runworker --reload`
SECRET_KEY = _dashboard.secret_key.get_secret_value() or DEVELOPMENT_KEY
ALLOWED_HOSTS = _dashboard.allowed_hosts
CSRF_TRUSTED_ORIGINS = _dashboard.csrf_trusted_origins
ROOT_URLCONF = "dashboard.urls"
ASGI_APPLICATION = "dashboard.asgi.application"

# workers stands before channels: both have a command named runworker, and the first app wins.
INSTALLED_APPS = [
    *_dashboard.apps,
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


SQLITE = {
    "timeout": 5,
    "transaction_mode": "IMMEDIATE",  # the audit's chain rests on one writer at a time
    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
}

# Under ASGI each request has a thread of its own: only a pool keeps connections from one to the next. It
# opens as many as are needed, up to those of a worker with all its threads.
POOL = {"pool": {"min_size": 1, "max_size": 60, "timeout": 5}}


def _database() -> dict[str, Any]:
    if not _dashboard.database_url:
        name = _dashboard.state_dir / "signalbox.sqlite3"
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": name, "OPTIONS": SQLITE}
    given = parsed_database(_dashboard.database_url)
    options = SQLITE if given["ENGINE"].endswith("sqlite3") else POOL if find_spec("psycopg_pool") else {}
    return {**given, "CONN_MAX_AGE": 0, "OPTIONS": {**given.get("OPTIONS", {}), **options}}


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
    "default": {
        "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
        "OPTIONS": {"MAX_ENTRIES": 10_000},
    },
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

AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "dashboard.backends.TenantLimits",
    "django.contrib.auth.backends.ModelBackend",
]
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
AXES_HANDLER = "dashboard.web.lockout.Lockout"
AXES_CLIENT_IP_CALLABLE = "dashboard.web.lockout.client_address"
AXES_FAILURE_LIMIT = 5  # PAIR_LIMIT there, which has the other limits too
AXES_COOLOFF_TIME = 0.25  # hours
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"], "username", "ip_address"]
AXES_LOCKOUT_CALLABLE = "dashboard.web.login.locked_out"
AXES_RESET_ON_SUCCESS = True
AXES_VERBOSE = False

SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_AGE = 12 * 3600  # seconds from the login: a working day
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = _dashboard.https
SECURE_REDIRECT_EXEMPT = ["^healthz$", "^readyz$"]  # probes come by plain HTTP, and bring no cookie
SECURE_HSTS_SECONDS = _dashboard.hsts_seconds if _dashboard.https else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = True
# Preloading binds a whole domain for years: its owner decides that, not one of its hosts.
SILENCED_SYSTEM_CHECKS = ["security.W021"]
CSRF_FAILURE_VIEW = "dashboard.actions.view.csrf_failure"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
DATA_UPLOAD_MAX_MEMORY_SIZE = 2 * 1024 * 1024
DATA_UPLOAD_MAX_NUMBER_FIELDS = 2000
FILE_UPLOAD_MAX_MEMORY_SIZE = 256 * 1024  # of a body in memory; the rest goes to a file until it is read
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
        "OPTIONS": {
            "location": _dashboard.state_dir / "payloads",
            "file_permissions_mode": 0o600,
            "directory_permissions_mode": 0o700,
        },
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
        "database_errors": {"()": "dashboard.web.logs.DatabaseErrors"},
    },
    "root": {"handlers": ["console"], "level": "INFO"},
    "loggers": {
        "axes": {"level": "WARNING"},
        "httpx": {"level": "WARNING"},
        "django.request": {"filters": ["database_errors"]},
        "uvicorn": {"level": "WARNING"},
        "temporalio": {"filters": ["core_fields"]},
        "temporalio.activity": {"filters": ["failed_attempts"]},
        # Any client can send any Host header; the answer 400 says enough.
        "django.security.DisallowedHost": {"handlers": ["quiet"], "propagate": False},
    },
}
