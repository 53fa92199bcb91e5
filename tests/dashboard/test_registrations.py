"""What apps register wrongly is named by `check`, with its place; a module that does not load, by pages."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest
from temporalio.common import SearchAttributeKey

from dashboard import checks, extend, registrations
from dashboard.access import Permission
from dashboard.extend import Action, Column, Money, Panel, Pipeline, Registered, Stage
from workers.conf import conf
from workers.registry.registry import registry

ROOT = Path(__file__).resolve().parents[2]
TYPE = "OrderWorkflow"
STAGES = tuple(Stage(f"stage_{at}", f"Stage {at}") for at in range(9))
MAY = Permission("try it", frozenset({"operator"}))


@pytest.fixture
def empty(monkeypatch):
    """A console that has nothing but what the test registers."""
    for name in ("pipelines", "moneys", "columns", "_panels", "_actions"):
        monkeypatch.setattr(extend, name, {})
    monkeypatch.setattr(extend, "registered", [])


def test_what_is_shipped_has_no_mistake():
    found = checks.check_registrations(None)
    assert [problem for problem in found if "registered by tests." not in str(problem.hint)] == []


def test_each_registration_is_known_with_its_place(empty):
    extend.register(Column("A", "Old"))
    [found] = extend.registered
    assert (found.module, found.where.split(":")[0]) == (__name__, "tests/dashboard/test_registrations.py")
    line = Path(__file__).read_text().splitlines()[int(found.where.split(":")[1]) - 1]
    assert 'extend.register(Column("A", "Old"))' in line


@pytest.mark.parametrize(
    ("item", "number", "what"),
    [
        (Pipeline(TYPE, "T", STAGES), "E010", "has 9 stages"),
        (Pipeline(TYPE, "T", ()), "E010", "has 0 stages"),
        (Pipeline(TYPE, "T", (*STAGES[:2], STAGES[0])), "E011", "has stages of one name: stage_0"),
        (Pipeline(TYPE, "T", STAGES[:2], {"shipping": "freight"}), "E012", "does not have: shipping"),
        (Pipeline(TYPE, "T", STAGES[:2], {}, {"stage_1": "rejected"}), "E013", "endings too: stage_1"),
        (Pipeline("Unheard", "T", STAGES[:2]), "W011", "no app has registered a workflow of the type"),
        (Money(TYPE, "Label", "currency"), "E020", "names Label, which is no Double"),
        (Money(TYPE, "OrderAmount", ""), "E021", "names no memo for the currency"),
        (Column("OrderAmount", "Amount", kind="money"), "E030", "no Money names its attribute"),
        (Column("A", "A", workflow_type="Unheard"), "W011", "of the type Unheard"),
        (Panel("get_it", "It", "no/such.html"), "E040", "does not exist: no/such.html"),
        (
            Action(
                name="try", signal="s", label="Try", done="Tried", permission=MAY,
                offered=lambda _: None, places=frozenset({"attic"}),
            ),
            "E050",
            "has a place that is none",
        ),
    ],
)  # fmt: skip
def test_a_wrong_registration_is_named_with_module_and_line(empty, monkeypatch, item, number, what):
    monkeypatch.setattr(
        registry, "attributes", (*registry.attributes, SearchAttributeKey.for_keyword("Label"))
    )
    extend.register(item)
    [message] = checks.check_registrations(None)
    assert message.id == f"dashboard.{number}"
    assert what in message.msg
    assert f"registered by {__name__}, tests/dashboard/test_registrations.py:" in (message.hint or "")


@pytest.mark.parametrize(
    "item",
    [
        Column("OrderAmount", "Amount"),
        Panel("get_it", "It", "dashboard/panels/state.html"),
        Pipeline(TYPE, "T", STAGES[:2]),
    ],
)
def test_two_apps_cannot_register_one_key(empty, item):
    extend.register(item)
    extend.registered.append(Registered(item, "other.console", "other/console.py:7"))
    [message] = checks.check_registrations(None)
    assert message.id == "dashboard.E001"
    assert f"is registered already by {__name__}, tests/dashboard/test_registrations.py:" in message.msg
    assert "other.console, other/console.py:7" in (message.hint or "")


FILES = {
    "torn/__init__.py": "",
    "torn/console.py": "import no_such_module",
    "worn/__init__.py": "",
    "worn/temporal.py": "raise ValueError('password=hunter2 is wrong')",
    "visit.py": """
        import asyncio
        from html import unescape

        import django

        django.setup()

        from django.core.management import call_command
        from django.test import AsyncClient
        from django.test.utils import setup_test_environment

        from devtools.management.commands.demo_users import person

        PAGES = ("", "workflows/", "approvals/", "breakers/", "workers/")


        async def main(viewer):
            browser = AsyncClient()
            await browser.aforce_login(viewer)
            for name in PAGES:
                answer = await browser.get(f"/ns/default/{name}")
                text = unescape(answer.content.decode())
                assert answer.status_code == 200, text
                named = "torn.console does not import: ModuleNotFoundError: No module named 'no_such_module'"
                assert (named in text) == (name in ("", "breakers/", "workers/")), (name, text)
                assert ("worn.temporal does not import: ValueError" in text) == (named in text)
                assert "hunter2" not in text
                assert name or "Charge" in text  # a stage of what orders registered


        call_command("migrate", verbosity=0)
        setup_test_environment()
        asyncio.run(main(person("vera", ("viewer",))[0]))
        call_command("check")
        print("all seen")
    """,
}


def test_a_module_that_does_not_load_is_named_and_takes_no_page_with_it(tmp_path: Path, server: str):
    for name, text in FILES.items():
        path = tmp_path / "apps" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text).lstrip())
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "dashboard.settings",
        "PYTHONPATH": f"{tmp_path / 'apps'}{os.pathsep}{ROOT}",
        "SIGNALBOX_APPS": "torn,worn,orders",
        "SIGNALBOX_MODE": "development",
        "SIGNALBOX_STATE_DIR": str(tmp_path / "state"),
        "TEMPORAL_ADDRESS": conf().address,
    }
    visit = subprocess.run(
        [sys.executable, str(tmp_path / "apps" / "visit.py")],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert "all seen" in visit.stdout, visit.stderr
    assert "(dashboard.W010)" in visit.stderr
    assert "torn/console.py:1" in visit.stderr


def test_nothing_is_said_where_all_loads():
    assert registrations.sentences() == []
