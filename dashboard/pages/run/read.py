"""One run for its page: shared by all who look at it, authorised for each of them."""

from __future__ import annotations

from dashboard.access import Verb, Viewer, authorise
from dashboard.live.cached_read import Seen, seen
from dashboard.temporal_api.run import RunPage, describe_run, fetch_run, subject_of
from workers.client.connection import get_client
from workers.client.errors import RunNotFound

FRESH = 0.5


class _Gone(Exception):
    """RunNotFound on its way past `seen()`, which takes our errors for an absence of the server."""


async def _fetch(viewer: Viewer, workflow_id: str, run_id: str) -> RunPage:
    try:
        return await fetch_run(viewer, workflow_id, run_id)
    except RunNotFound as error:
        raise _Gone(error.message) from error


async def read_run(viewer: Viewer, workflow_id: str, run_id: str) -> Seen[RunPage]:
    """A run for a viewer, or what was last seen of it when Temporal is away.

    Raises RunNotFound, and Hidden for a run of another tenant.
    """
    authorise(viewer, Verb.VIEW)
    try:
        found = await seen(
            "run",
            viewer,
            lambda: _fetch(viewer, workflow_id, run_id),
            detail=(workflow_id, run_id),
            fresh=FRESH,
        )
    except _Gone as error:
        raise RunNotFound(str(error)) from error
    if found.value:
        authorise(viewer, Verb.VIEW, found.value.subject)
    return found


async def newest(viewer: Viewer, workflow_id: str) -> str:
    """The id of the newest run. Raises RunNotFound, Hidden, TemporalUnavailable."""
    _, row = await describe_run(await get_client(), workflow_id, "")
    authorise(viewer, Verb.VIEW, subject_of(row))
    return row.run_id
