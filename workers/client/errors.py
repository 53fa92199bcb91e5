"""What can go wrong between us and Temporal, in our own words: a page shows `.message` as it stands."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from temporalio.client import WorkflowQueryFailedError, WorkflowQueryRejectedError
from temporalio.service import RPCError, RPCStatusCode

logger = logging.getLogger(__name__)

_LATE, _REFUSED = "Temporal did not answer in time.", "Temporal refused these credentials."
_UNAVAILABLE = {
    RPCStatusCode.RESOURCE_EXHAUSTED: "Temporal is over its rate limit; try again in a moment.",
    RPCStatusCode.UNAVAILABLE: "Temporal cannot be reached.",
    RPCStatusCode.DEADLINE_EXCEEDED: _LATE,
    RPCStatusCode.CANCELLED: _LATE,
    RPCStatusCode.PERMISSION_DENIED: _REFUSED,
    RPCStatusCode.UNAUTHENTICATED: _REFUSED,
}
# What the SDK says of an answer over TEMPORAL_MAX_INCOMING_GRPC_BYTES; by status, it might be a rate limit.
_TOO_LARGE = ("while decompressing message", "message length too large")
MOST_LOGGED = 500  # characters of a server's message


class TemporalError(Exception):
    """Base of all of them. `message` is a sentence that is safe to show to anybody."""

    def __init__(self, message: str) -> None:
        self.message = message
        super().__init__(message)


class TemporalUnavailable(TemporalError):
    """The server cannot be reached, refuses us, or did not answer in time."""


class CallFailed(TemporalUnavailable):
    """The server reported a fault of its own, or lacks the call."""


class AnswerTooLarge(TemporalError):
    """The server's answer has more bytes than this process takes in one call."""


class RunNotFound(TemporalError):
    """No such workflow or run, or it is closed already where an open one is needed."""


class BadQuery(TemporalError):
    """The server refused a visibility query (or another argument); the message is the server's own."""


class NoAnswer(TemporalError):
    """A workflow query got no answer: no worker polls, or none answered in time."""


class QueryFailed(TemporalError):
    """A workflow answered a query with an error, or does not know the query."""


def _translate(error: RPCError) -> TemporalError:
    """The error in our words. A status without words of its own is logged with the server's message: that
    may hold anything, so no page shows it."""
    status, text = error.status, error.message
    if "before a worker could process it" in text or status is RPCStatusCode.FAILED_PRECONDITION:
        return NoAnswer("No worker answered the query.")
    if any(words in text for words in _TOO_LARGE):
        return AnswerTooLarge("What Temporal answered is too large to show.")
    if status in _UNAVAILABLE:
        return TemporalUnavailable(_UNAVAILABLE[status])
    if status is RPCStatusCode.NOT_FOUND and text.startswith("Namespace"):
        return TemporalUnavailable("Temporal does not have this namespace.")
    if status is RPCStatusCode.NOT_FOUND or "Invalid RunId" in text:
        return RunNotFound("There is no such open workflow run.")
    if status is RPCStatusCode.INVALID_ARGUMENT:
        return BadQuery(text)
    logger.warning("Temporal answered a call with %s: %s", status.name, text[:MOST_LOGGED])
    if status is RPCStatusCode.UNIMPLEMENTED:
        return CallFailed("This Temporal server does not have a call that the console needs.")
    return CallFailed("Temporal failed to answer; its own log says why.")


@contextmanager
def rpc_errors() -> Iterator[None]:
    """Turn the SDK's errors of a call into ours; anything that is not about the server passes."""
    try:
        yield
    except RPCError as error:
        raise _translate(error) from error
    except WorkflowQueryFailedError as error:
        raise QueryFailed(str(error)) from error
    except WorkflowQueryRejectedError as error:
        raise NoAnswer("The workflow is closed and answers no more queries.") from error
    except RuntimeError as error:
        # The SDK reports a failed connection, and only that, as a bare RuntimeError.
        if not str(error).startswith("Failed client connect"):
            raise
        raise TemporalUnavailable("Temporal cannot be reached.") from error
