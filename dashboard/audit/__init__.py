"""The audit log: its writer and verifier, and the comparison with what Temporal knows."""

from __future__ import annotations
