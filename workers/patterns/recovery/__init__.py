"""Recovery of a failed operation by retry, compensation or an operator."""

from __future__ import annotations
