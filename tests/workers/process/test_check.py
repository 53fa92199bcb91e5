"""`runworker --check` finds every planted mistake at once, and says for each where it is and what to do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.workers.process.test_runworker import App, app
from workers.process.worker_process import Exit

__all__ = ["app"]  # a fixture

PLANTED = sorted(
    path.stem for path in (Path(__file__).parent / "planted").glob("*.py") if path.stem[0] != "_"
)
PLUGINS = [name for name in PLANTED if name.startswith("plugin_")]
MORE = """
from temporalio.common import SearchAttributeKey
for name in {modules}:
    registry.module(f"tests.workers.process.planted.{{name}}", queue="planted-queue")
from workers.patterns.breaker.plugin import breakers
breakers.register("payments", threshold=5, open_seconds=60)
registry.add("planted-queue", attributes=[SearchAttributeKey.for_int("Stage")])
registry.add("planted-queue", attributes=[SearchAttributeKey.for_int("NeverRegistered")])
"""

# What has to stand in one line: where (a file and line, or a setting), what, and the fix.
MISTAKES = {
    "a workflow's name twice": ("duplicate_workflow.py:8: Workflow Napping is registered", "Rename one"),
    "an activity's name twice": ("duplicate_activity.py:8: Activity nap is registered", "Rename one"),
    "an undecorated activity": ("undecorated.py:8: forgotten is registered as activity", "@activity.defn"),
    "a workflow that imports Django": (
        "imports_django.py:5: A workflow's file imports django",
        "an activity",
    ),
    "a module that fails": ("does_not_import.py:6: Module", "KeyError: 'high'"),
    "a plugin that shadows another": ("plugin_two.py:9: Plugin twin shadows", "plugin_one.py:9"),
    "an activity with two arguments": (
        "signatures.py:8: Activity add takes 2 arguments",
        "one pydantic model",
    ),
    "an untyped activity": ("signatures.py:13: Activity guess does not say", "Give it a type"),
    "a workflow without run": ("without_run.py:8: Module", "Missing @workflow.run method"),
    "a run that is not async": ("sync_run.py:10: Module", "must be an async function"),
    "an async activity that is hidden": ("hidden_async.py:20: Activity fetch is async", "async def"),
    "a thread that may be interrupted": (
        "interruptible.py:8: Activity ask_bank is sync",
        "no_thread_cancel_exception=True",
    ),
    "a type that has no JSON": ("unwritable.py:10: Activity borrow: its result", "Use a pydantic model"),
    "a breaker that nobody runs": (
        "guarded_by_nobody.py:10: Activity pay is guarded for",
        "Registered: payments",
    ),
    "a file that breaks in the sandbox": (
        "breaks_in_sandbox.py:13: Workflow ReadingWorkflow",
        "passed_through",
    ),
    "a behaviour in the definition": ("versioned_by_itself.py:9: Workflow Stubborn", "entities=[...]"),
    "a base class that is left out": ("forgets_its_base.py:13: Workflow", "Add `super().__init__(...)`"),
    "votes that are not counted": ("counts_no_votes.py:11: Workflow", "Add `self.approval = Approval("),
    "guarded calls without a signal": (
        "hears_no_resume.py:11: Workflow HeldForEverWorkflow makes its own GuardedCalls",
        "(HoldHandlers):`",
    ),
    "a secret that is sent": (
        "sends_a_secret.py:18: Activity import_accounts has a field",
        "is kept",
    ),
    "a rate limit of nothing": ("WORKER_RATE_LIMITS: acme:charge limits", "Registered: "),
    "a limit of no queue": (
        "WORKER_QUEUE_LIMITS: slow-queue is a queue that is not registered",
        "planted-queue",
    ),
    "an attribute of another type": ("Stage is of type keyword", "must be int"),
    "an attribute that is missing": ("Search attributes are missing: NeverRegistered", "A worker registers"),
}


@pytest.fixture
def planted(app: App) -> App:
    app.write(MORE.format(modules=[name for name in PLANTED if name not in PLUGINS]))
    return app


SETTINGS = {
    "WORKER_PLUGINS": json.dumps([f"tests.workers.process.planted.{name}" for name in PLUGINS]),
    "WORKER_RATE_LIMITS": '{"acme:charge": 2}',
    "WORKER_QUEUE_LIMITS": '{"slow-queue": 2}',
}


async def test_every_planted_mistake_is_found_at_once(planted: App):
    code, said = await planted.run("--check", **SETTINGS)
    lines = said.splitlines()
    found = {
        name for name, words in MISTAKES.items() for line in lines if all(word in line for word in words)
    }
    assert set(MISTAKES) - found == set(), said
    assert code == Exit.WORKFLOW
    assert "Traceback" not in said
    assert all(any(f"{name}.py" in line for line in lines) for name in PLANTED)


async def test_a_worker_does_not_start_with_them_and_says_all_that_it_knows(planted: App):
    code, said = await planted.run(**SETTINGS)
    assert code == Exit.WORKFLOW
    for name in ("duplicate_workflow", "undecorated", "signatures", "does_not_import", "plugin_two"):
        assert f"{name}.py" in said


async def test_a_mistake_in_a_setting_alone_has_the_code_of_usage(app: App):
    code, said = await app.run("--check", WORKER_RATE_LIMITS=SETTINGS["WORKER_RATE_LIMITS"])
    assert code == Exit.USAGE
    assert "acme:charge" in said


async def test_a_key_ring_that_cannot_be_read_is_told_before_anything_else(app: App):
    code, said = await app.run("--check", PAYLOAD_KEYS="first:dG9vIHNob3J0")
    assert code != Exit.OK
    assert "PAYLOAD_KEYS: key first must be the base64 of 32 bytes" in said


async def test_a_build_is_made_current_only_in_a_deployment(app: App):
    code, said = await app.run("--make-current")
    assert (code, "WORKER_DEPLOYMENT" in said) == (Exit.USAGE, True)
