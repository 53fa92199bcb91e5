"""New prices for many articles: rates side by side and from the cache, articles in batches."""

from __future__ import annotations

import functools
from collections import Counter
from datetime import timedelta

from pydantic import BaseModel, Field
from temporalio import activity, workflow
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from workers.patterns.batches.activities import batch_activity
    from workers.patterns.batches.batches import in_batches
    from workers.patterns.batches.parallel import gather
    from workers.patterns.cache import cached

ASKED: Counter[str] = Counter()
RATES = {"USD": 1.1, "CHF": 0.9}


@activity.defn(no_thread_cancel_exception=True)
@cached(seconds=300, per_tenant=False)
def exchange_rate(currency: str) -> float:
    ASKED[currency] += 1
    if currency not in RATES:
        raise ApplicationError(f"No rate for {currency}.", type="UnknownCurrency", non_retryable=True)
    return RATES[currency]


class Article(BaseModel):
    number: int
    cents: int = Field(ge=0)
    currency: str = "EUR"
    rate: float = 1


@batch_activity("set_price")
def set_price(article: Article, key: str) -> int:
    return round(article.cents * article.rate)


class Priced(BaseModel):
    cents: dict[int, int]
    failed: dict[int, str]


@workflow.defn
class PriceWorkflow:
    @workflow.run
    async def run(self, articles: list[Article]) -> Priced:
        foreign = sorted({article.currency for article in articles} - {"EUR"})
        asked = await gather((functools.partial(rate_of, currency) for currency in foreign), limit=5)
        rates = {currency: end.get() for currency, end in zip(foreign, asked, strict=True) if end.ok}
        known = [article for article in articles if article.currency in {"EUR", *rates}]
        told = [item.model_copy(update={"rate": rates.get(item.currency, 1)}) for item in known]
        result = await in_batches(set_price, told, size=100, limit=4)
        failed = {article.number: "No rate." for article in articles if article not in known}
        failed |= {known[item.index].number: item.error for item in result.failed}
        done = {known[item.index].number: item.value for item in result.results if not item.error}
        return Priced(cents=done, failed=failed)


async def rate_of(currency: str) -> float:
    return await workflow.execute_activity(
        exchange_rate, currency, start_to_close_timeout=timedelta(seconds=40)
    )
