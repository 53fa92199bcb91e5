"""What the examples bring to workers: two plugins, installed as an app installs those that it ships."""

from __future__ import annotations

from tests.examples import mailer, postman
from workers.registry.registry import registry

registry.install(mailer.plugin, postman.plugin)
