"""What pages read, a package by noun: every read takes the viewer and passes `access`."""

from __future__ import annotations
