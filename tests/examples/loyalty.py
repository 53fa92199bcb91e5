"""A loyalty card that lives from its events, and sends each gift once."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from temporalio import activity, workflow
from temporalio.common import RawValue

with workflow.unsafe.imports_passed_through():
    from workers.patterns.decisions import NO_BODY, lenient_signal
    from workers.patterns.events.entity import Entity
    from workers.patterns.events.fold import Aggregate, Event, Refused
    from workers.patterns.events.messages import Effect, EntityInput

SENT: dict[str, str] = {}


class Card(BaseModel):
    model_config = ConfigDict(frozen=True)

    points: int = 0


class Earn(Event):
    points: int = Field(gt=0)


class Spend(Event):
    points: int = Field(gt=0)
    gift: str


CARD = Aggregate(Card)


@CARD.on("earn", Earn)
def earn(card: Card, event: Earn) -> Card:
    return Card(points=card.points + event.points)


@CARD.on("spend", Spend)
def spend(card: Card, event: Spend) -> Card:
    if event.points > card.points:
        raise Refused(f"Only {card.points} points are left.")
    return Card(points=card.points - event.points)


@activity.defn(no_thread_cancel_exception=True)
def send_gift(effect: Effect) -> None:
    SENT.setdefault(effect.idempotency_key, effect.payload["gift"])


@workflow.defn
class LoyaltyCard(Entity):
    aggregate = CARD

    @workflow.run
    async def run(self, start: EntityInput) -> dict[str, Any]:
        return await self.run_until_closed()

    @workflow.signal(description="Points came in. Body: an Earn.")
    @lenient_signal
    def earn(self, raw: RawValue = NO_BODY) -> None:
        self.on_event("earn", raw)

    @workflow.signal(description="A gift is wanted. Body: a Spend.")
    @lenient_signal
    def spend(self, raw: RawValue = NO_BODY) -> None:
        self.on_event("spend", raw)

    @workflow.signal(description="The card is given back. Body: a Decision.")
    @lenient_signal
    def give_back(self, raw: RawValue = NO_BODY) -> None:
        self.close(raw)


START = EntityInput(effects={"spend": "send_gift"})
