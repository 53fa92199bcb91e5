"""One run for its page: read once for all viewers, authorised for each."""

from __future__ import annotations

from dataclasses import replace

from dashboard.access import Verb, Viewer, authorise, client_for
from dashboard.audit.origins import origins_of
from dashboard.live.cached_read import Snapshot, cached_read
from dashboard.temporal_api.rows import subject_of
from dashboard.temporal_api.run import RunPage, describe_run, fetch_run
from workers.client.errors import RunNotFound

FRESH = 0.5


class _Gone(Exception):
    """RunNotFound on its way past `cached_read()`, which takes our errors for an unreachable server."""


async def _fetch(viewer: Viewer, workflow_id: str, run_id: str) -> RunPage:
    try:
        run = await fetch_run(viewer, workflow_id, run_id)
    except RunNotFound as error:
        raise _Gone(error.message) from error
    return replace(run, origins=await origins_of(run.subject, run.history.sent))


async def read_run(viewer: Viewer, workflow_id: str, run_id: str) -> Snapshot[RunPage]:
    """A run for a viewer, or its last snapshot while Temporal is unreachable.

    Raises RunNotFound, and Hidden for a run of another tenant.
    """
    try:
        found = await cached_read(
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
    _, row = await describe_run(await client_for(viewer), workflow_id, "")
    authorise(viewer, Verb.VIEW, subject_of(row))
    return row.run_id
