"""Template tags of the console; `signalbox` is a builtin of every template."""

from __future__ import annotations
