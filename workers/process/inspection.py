"""What `runworker --check` looks at besides the registry: what fails only when it runs, or does nothing."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterable, Iterator
from typing import Any

from pydantic import TypeAdapter
from pydantic.errors import PydanticInvalidForJsonSchema, PydanticSchemaGenerationError, PydanticUserError
from temporalio import activity, workflow

from workers.conf import WorkersConf
from workers.payloads.redaction import SENSITIVE, normal, normals
from workers.process.sandbox import workflow_runner
from workers.registry.definitions import Problem, place, short_path, workflow_name
from workers.registry.registry import Registry

# Roots of packages that do input and output, or register things when they are imported.
_NOT_FOR_WORKFLOWS = {
    *("django", "asgiref", "channels", "httpx", "requests", "aiohttp", "urllib3", "boto3"),
    *("psycopg", "psycopg2", "sqlite3", "redis"),
}


def workflow_file_problems(workflows: Iterable[type]) -> Iterator[Problem]:
    """Do the files of workflows load in the sandbox, as a worker loads them, and keep clear of the world?"""
    runner, seen = workflow_runner(), set()
    for cls in workflows:
        try:
            runner.prepare_workflow(workflow._Definition.must_from_class(cls))
        except Exception as error:  # whatever a file does when it is imported again
            reason = f"{type(error).__name__}: {error}"
            what = f"Workflow {workflow_name(cls)} does not load in the sandbox: {reason}"
            fix = "Import what needs the world within `workflow.unsafe.imports_passed_through()`."
            yield Problem(place(cls), f"{what.rstrip('.')}.", fix)
        source = inspect.getsourcefile(cls)
        if source and source not in seen:
            seen.add(source)
            yield from _foreign_imports(source)


def _foreign_imports(path: str) -> Iterator[Problem]:
    with open(path, encoding="utf-8") as file:  # noqa: PTH123 (a source file that is imported already)
        tree = ast.parse(file.read())
    for node in tree.body:  # bare ones: blocks pass through on purpose, or are for type checkers
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        else:
            continue
        for name in names:
            if name.partition(".")[0] in _NOT_FOR_WORKFLOWS:
                what = f"A workflow's file imports {name}, and workflow code must not touch the world."
                fix = "Move what uses it into an activity, in a file of its own."
                yield Problem(f"{short_path(path)}:{node.lineno}", what, fix)


def secret_problems(settings: WorkersConf, registry: Registry) -> Iterator[Problem]:
    """Fields that the setting PAYLOAD_SECRETS would refuse to send, as soon as one of them has a value."""
    if settings.payload_secrets != "refuse":
        return
    hidden = normals((*SENSITIVE, *settings.redacted_fields))
    for name, fn in registry.activities().items():
        definition = activity._Definition.must_from_callable(fn)
        for hint in filter(None, (*(definition.arg_types or ()), definition.ret_type)):
            for field in sorted(field for field in _fields(hint) if normal(field) in hidden):
                what = f"Activity {name} has a field {field}, which PAYLOAD_SECRETS=refuse forbids."
                fix = "Send where the secret is kept instead, or set PAYLOAD_SECRETS to reference."
                yield Problem(place(fn), what, fix)


def _fields(hint: Any) -> set[str]:
    """Names of all fields of a type and of what is inside of it."""
    try:
        schema = TypeAdapter(hint).json_schema()
    except (PydanticInvalidForJsonSchema, PydanticSchemaGenerationError, PydanticUserError):
        return set()
    nested = [schema, *schema.get("$defs", {}).values()]
    return {name for item in nested for name in item.get("properties", {})}


def setting_problems(settings: WorkersConf, registry: Registry) -> Iterator[Problem]:
    """Settings that are read only when something happens."""
    activities = registry.activity_queues()
    for key, rate in settings.rate_limits.items():
        name = key.rpartition(":")[2]
        if name not in activities:
            fix = f"Registered: {', '.join(sorted(activities))}."
            yield Problem("WORKER_RATE_LIMITS", f"{key} limits an activity that is not registered.", fix)
        if rate <= 0:
            yield Problem("WORKER_RATE_LIMITS", f"{key} allows {rate:g} starts a second.", "Allow some.")
    for queue, most in settings.queue_limits.items():
        if queue not in registry.queues:
            fix = f"Registered: {', '.join(sorted(registry.queues))}."
            yield Problem("WORKER_QUEUE_LIMITS", f"{queue} is a queue that is not registered.", fix)
        if most < 1:
            yield Problem("WORKER_QUEUE_LIMITS", f"{queue} allows {most} activities at once.", "Allow some.")
