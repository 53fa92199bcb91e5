"""One module a page; each view authorises, calls reads or actions, and renders."""

from __future__ import annotations
