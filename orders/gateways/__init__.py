"""The ways to the outside world. Gateways speak HTTP; activities speak to gateways."""

from __future__ import annotations
