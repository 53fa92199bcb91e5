"""What services refuse for business reasons, by the data alone, so that a demo or a test can choose it."""

from __future__ import annotations

from orders.sandbox.ledger import Refused
from orders.sandbox.schemas import EffectBody, Service


def check(service: Service, body: EffectBody) -> None:
    """Raises Refused: cards of customers `declined-...`, the article SKU-NONE, customers `nowhere-...`."""
    if service is Service.PAYMENTS and body.customer_id.startswith("declined-"):
        raise Refused(402, "declined", "The card issuer declined the charge.")
    if service is Service.STOCK and any(item.sku == "SKU-NONE" for item in body.items):
        raise Refused(409, "out_of_stock", "SKU-NONE is out of stock.")
    if service in {Service.CARRIER, Service.FREIGHT} and body.customer_id.startswith("nowhere-"):
        raise Refused(409, "unshippable", "The address is not served.")
