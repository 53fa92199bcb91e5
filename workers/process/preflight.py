"""Before workers run: which queues are meant; and `runworker --check`: would workers run here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from workers.client import attributes
from workers.client.connection import connect, process_name
from workers.conf import WorkersConf, conf
from workers.process.inspection import (
    secret_problems,
    setting_problems,
    workflow_file_problems,
)
from workers.process.versions import build_id, make_current
from workers.process.worker_process import Exit, Stop, or_stop
from workers.registry.registry import Queue, RegistryError, registry

Found = list[tuple[Exit, str]]
_WORST_FIRST = (Exit.WORKFLOW, Exit.USAGE, Exit.UNAVAILABLE, Exit.ATTRIBUTES)


def load() -> None:
    """Let every app and plugin register. Stop has all mistakes."""
    try:
        registry.load()
    except RegistryError as error:
        raise Stop(Exit.WORKFLOW, str(error)) from error


def choose(names: Sequence[str]) -> list[Queue]:
    """The registered queues called `names`, or all; with those that plugins need in every process."""
    unknown = sorted(set(names) - registry.queues.keys())
    if unknown:
        known = ", ".join(sorted(registry.queues)) or "none"
        raise Stop(Exit.USAGE, f"No such queue: {', '.join(unknown)}. Registered queues: {known}.")
    companions = {name for plugin in registry.plugins.values() for name in plugin.companions()}
    wanted = set(names or registry.queues)
    if not wanted | companions:
        raise Stop(Exit.USAGE, "No app has registered a queue.")
    suffix = f"-{conf().queue_suffix}" if conf().queue_suffix else ""
    # What every process serves is shared by all tenants, so it has no suffix.
    return [
        replace(registry.queues[name], name=name if name in companions else f"{name}{suffix}")
        for name in sorted(wanted | companions)
    ]


async def check(names: Sequence[str]) -> str:
    """Could a worker run here? Changes nothing. Returns what was found; Stop has all that is wrong.

    Its code is that of the worst: 5 before 2, 3 and 4.
    """
    settings, found = conf(), Found()
    try:
        registry.load()
    except RegistryError as error:
        found += [(Exit.WORKFLOW, str(problem)) for problem in error.problems]
    queues = _chosen(names, found)
    workflows = [cls for queue in queues for cls in queue.workflows]
    found += [(Exit.WORKFLOW, str(problem)) for problem in workflow_file_problems(workflows)]
    for plugin in registry.plugins.values():
        found += [(Exit.WORKFLOW, str(problem)) for problem in plugin.check(registry.activities())]
    found += [(Exit.WORKFLOW, str(problem)) for problem in secret_problems(settings, registry)]
    found += [(Exit.USAGE, str(problem)) for problem in setting_problems(settings, registry)]
    found += await _server(settings)
    if found:
        code = min((code for code, _ in found), key=_WORST_FIRST.index)
        count = f"{len(found)} problem{'' if len(found) == 1 else 's'} found:"
        raise Stop(code, "\n".join([count, *(f"  - {text}" for _, text in found)]))
    passed = f"{len(workflows)} workflows on {len(queues)} queues load, {len(_keys())} search attributes are"
    warnings = [f"Warning: {problem}" for problem in registry.problems()]
    return "\n".join([*warnings, f"{passed} as declared. Build {build_id(settings)}."])


def _keys() -> list[attributes.Key]:
    return [*attributes.PLATFORM, *registry.attributes]


def _chosen(names: Sequence[str], found: Found) -> list[Queue]:
    """A queue may be unknown because its module does not import: then that is reported too."""
    try:
        return choose(names)
    except Stop as stop:
        found.append((stop.code, stop.message))
        return list(registry.queues.values())


async def _server(settings: WorkersConf) -> Found:
    """What search attributes the server lacks, or has with another type."""
    try:
        client = await or_stop(connect(settings, for_worker=True, identity=process_name("check")), settings)
        known = await or_stop(attributes.registered(client), settings)
    except Stop as stop:
        return [(stop.code, stop.message)]
    problems = attributes.mismatches(known, _keys())
    if missing := attributes.lacking(known, _keys()):
        problems.append(f"Search attributes are missing: {', '.join(missing)}. A worker registers them.")
    return [(Exit.ATTRIBUTES, problem) for problem in problems]


async def make_build_current() -> str:
    """`runworker --make-current`: new runs go to this build. Stop when that cannot be."""
    settings = conf()
    if not settings.deployment:
        raise Stop(Exit.USAGE, "Workers are unversioned: set WORKER_DEPLOYMENT to the deployment's name.")
    client = await or_stop(connect(settings, for_worker=True, identity=process_name("deploy")), settings)
    return f"{await or_stop(make_current(client, settings), settings)} is current."
