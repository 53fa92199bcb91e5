"""Approvals: who must agree, until when."""

from __future__ import annotations
