"""The search attributes of orders. No personal data: values are not encrypted."""

from __future__ import annotations

from temporalio.common import SearchAttributeKey

CUSTOMER_ID = SearchAttributeKey.for_keyword("CustomerId")
STRATEGY = SearchAttributeKey.for_keyword("Strategy")
ORDER_AMOUNT = SearchAttributeKey.for_float("OrderAmount")
"""Major units, for comparisons in queries only; sums are made of minor units."""
PRIORITY = SearchAttributeKey.for_int("Priority")
IS_PREMIUM = SearchAttributeKey.for_bool("IsPremium")
CREATED_DATE = SearchAttributeKey.for_datetime("CreatedDate")

ORDERS = (CUSTOMER_ID, STRATEGY, ORDER_AMOUNT, PRIORITY, IS_PREMIUM, CREATED_DATE)
