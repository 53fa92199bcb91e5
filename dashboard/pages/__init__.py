"""The pages of the console, a folder each: `view` renders, `read` gets what it shows."""

from __future__ import annotations
