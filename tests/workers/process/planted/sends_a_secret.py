"""Mistake: an activity that is sent a password, which no history may hold."""

from __future__ import annotations

from pydantic import BaseModel
from temporalio import activity


class Account(BaseModel):
    user: str
    password: str


class Accounts(BaseModel):
    items: list[Account] = []


@activity.defn(no_thread_cancel_exception=True)
def import_accounts(accounts: Accounts) -> None: ...
