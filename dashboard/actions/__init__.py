"""What people do to workflows. Every act passes `perform`: authorise, audit the intent, act, audit the
outcome."""

from __future__ import annotations
