"""What the console reads from Temporal: lists, descriptions, histories, answers to queries."""

from __future__ import annotations
