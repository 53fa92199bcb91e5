"""Who may not try to sign in any more: django-axes counts failures, and three limits are set on its counts.

A name from one address, a name from anywhere (guessing from many addresses), and an address whatever the name
(one password tried on many names). The last two do not hold where the same name has signed in from the same
address before, so that failures of others do not lock a person out of a known address.
"""

from __future__ import annotations

from datetime import timedelta
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any

from axes.handlers.database import AxesDatabaseHandler
from axes.helpers import get_client_username
from axes.models import AccessLog
from django.db.models import Sum
from django.http import HttpRequest
from django.utils import timezone

PAIR_LIMIT = 5  # failures of a name from one address, within the cool-off of axes
NAME_LIMIT = 50
ADDRESS_LIMIT = 50
LIMITS = (PAIR_LIMIT, NAME_LIMIT, ADDRESS_LIMIT)  # in the order of AXES_LOCKOUT_PARAMETERS
KNOWN_DAYS = 30


def client_address(request: HttpRequest) -> str:
    """The address of the connection, or what a trusted proxy says it is. Of IPv6 the network of 64 bits: one
    customer has all addresses of it."""
    text = str(request.META.get("REMOTE_ADDR", ""))
    try:
        address = ip_address(text)
    except ValueError:
        return "0.0.0.0"  # noqa: S104 (of a socket without addresses: all such clients are one)
    if isinstance(address, IPv6Address) and not address.ipv4_mapped:
        return str(ip_network((address, 64), strict=False).network_address)
    return str(getattr(address, "ipv4_mapped", None) or address)


class Lockout(AxesDatabaseHandler):  # type: ignore[misc]  # the package has no types
    """The handler of axes with a limit for each of the parameters."""

    def get_failures(self, request: HttpRequest, credentials: dict[str, Any] | None = None) -> int:
        """The count that is nearest to its limit, scaled to PAIR_LIMIT, which axes compares it with."""
        counts = [
            attempts.aggregate(total=Sum("failures_since_start"))["total"] or 0
            for attempts in self.get_user_attempts(request, credentials)
        ]
        if _known(get_client_username(request, credentials), client_address(request)):
            counts = counts[:1]
        return max(count * PAIR_LIMIT // limit for count, limit in zip(counts, LIMITS, strict=False))

    def reset_user_attempts(self, request: HttpRequest, credentials: dict[str, Any] | None = None) -> int:
        """After a login: forget the failures of this name at this address. A person with an account must not
        be able to clear what was tried on other names."""
        deleted, _ = self.filter_user_attempts(request, credentials)[0].delete()
        return int(deleted)


def _known(name: str | None, address: str) -> bool:
    since = timezone.now() - timedelta(days=KNOWN_DAYS)
    logins = AccessLog.objects.filter(username=name, ip_address=address, attempt_time__gt=since)
    return bool(logins.exists())
