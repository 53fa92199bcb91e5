"""Which feature flags are on for a run: asked once, kept in its state."""

from __future__ import annotations

from temporalio import activity

from workers.patterns.dynamic.resolve import Names


@activity.defn(name="resolve_flags", no_thread_cancel_exception=True)
def resolve_flags(wanted: Names) -> dict[str, bool]:
    """Flag -> is it on for the run's tenant. An unknown flag is off."""
    from workers.registry.flags import flags  # models exist only once Django is set up

    return flags(wanted.names)
