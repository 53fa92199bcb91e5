"""The console's own panels and actions, registered as those of every app are: each module of the two folders
registers what it has when it is imported."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from dashboard import actions, panels

for package in (panels, actions):
    for module in iter_modules(package.__path__):
        import_module(f"{package.__name__}.{module.name}")
