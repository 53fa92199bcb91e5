"""Patterns of durable workflows: saga, shared breaker, approval, decisions; pure where they can be."""

from __future__ import annotations
