"""A statement for every account, in a process that takes its time."""

from __future__ import annotations

from pydantic import BaseModel
from temporalio import activity

from workers.patterns.batches.activities import batch_activity
from workers.patterns.batches.messages import LongRunningInput, Notice, Page, PageQuery

SENT: dict[str, str] = {}
TOLD: list[Notice] = []
ACCOUNTS = [{"number": n, "address": f"a{n}@example.org" if n != 17 else ""} for n in range(120)]


class Account(BaseModel):
    number: int
    address: str


@activity.defn(no_thread_cancel_exception=True)
def read_accounts(query: PageQuery) -> Page:
    return Page(items=ACCOUNTS[query.first : query.first + query.limit])


@batch_activity("send_statement")
def send_statement(account: Account, key: str) -> None:
    if not account.address:
        raise ValueError(f"Account {account.number} has no address.")
    SENT.setdefault(key, account.address)


@activity.defn(no_thread_cancel_exception=True)
def tell_finance(notice: Notice) -> None:
    TOLD.append(notice)


STATEMENTS = LongRunningInput(
    activity="send_statement",
    total=120,
    pages="read_accounts",
    key="statements-2026-01",
    notify="tell_finance",
)
