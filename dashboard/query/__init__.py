"""From the URL to the query text of a list: filters, conditions, scope. Nothing here calls Temporal."""

from __future__ import annotations
