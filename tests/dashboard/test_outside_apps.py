"""Two apps from outside of this repository: one adds a panel and a workflow, the other an action on it.

They are written into a folder of their own, and a web process and a worker process start with them, as in an
installation: nothing of the console is changed for them.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from workers.conf import conf

ROOT = Path(__file__).resolve().parents[2]

FILES = {
    "forecast/__init__.py": "",
    "forecast/console.py": '''
        """The panel of a forecast."""

        from dashboard.extend import Panel, register
        from workers.contracts import Contract


        class Forecast(Contract):
            """Answer of `get_forecast`."""

            place: str = ""
            degrees: int = 0


        def draw(run, forecast):
            return {"place": forecast.place, "text": f"{forecast.degrees} °C"}


        register(Panel("get_forecast", "Forecast", "forecast/panel.html", Forecast, draw))
    ''',
    "forecast/templates/forecast/panel.html": """
        <p class="pad">In <b>{{ model.place }}</b> it will be {{ model.text }}.</p>
    """,
    "forecast/workflow.py": '''
        """A forecast that may be corrected."""

        from __future__ import annotations

        from temporalio import workflow


        @workflow.defn
        class ForecastWorkflow:
            """Answers what it expects, until it is told to end."""

            @workflow.init
            def __init__(self, place: str) -> None:
                self.place, self.degrees, self.verdicts = place, 20, {}

            @workflow.run
            async def run(self, place: str) -> int:
                await workflow.wait_condition(lambda: self.degrees > 40)
                await workflow.wait_condition(workflow.all_handlers_finished)
                return self.degrees

            @workflow.signal
            def correct_forecast(self, decision: dict | None = None) -> None:
                decision = decision or {}
                known = decision.get("decision_id", "")
                if known in self.verdicts:
                    return
                self.degrees += decision["input"]["change"]
                detail = f"Now {self.degrees} °C, says {decision.get('actor')}: {decision.get('reason')}"
                self.verdicts[known] = {"decision_id": known, "outcome": "applied", "detail": detail}

            @workflow.query
            def get_forecast(self) -> dict:
                return {"place": self.place, "degrees": self.degrees}

            @workflow.query
            def get_decision(self, decision_id: str) -> dict:
                return self.verdicts.get(decision_id, {"outcome": "unknown"})
    ''',
    "forecast/temporal.py": '''
        """What runs on the queue of forecasts."""

        from forecast.workflow import ForecastWorkflow
        from workers.registry.registry import registry

        registry.add("forecast-queue", workflows=[ForecastWorkflow])
    ''',
    "correction/__init__.py": "",
    "correction/console.py": '''
        """Correct a forecast."""

        from django import forms

        from dashboard.access import Permission
        from dashboard.extend import Action, Offer, register
        from dashboard.forms import ActionForm


        class CorrectForm(ActionForm):
            """By how much."""

            reason_required = True
            change = forms.IntegerField(label="Degrees more or less", min_value=-50, max_value=50)

            def detail(self):
                return f"by {self.cleaned_data['change']} degrees"


        def offered(target):
            return Offer() if target.declares("correct_forecast") else None


        register(
            Action(
                name="correct",
                signal="correct_forecast",
                label="Correct",
                done="Corrected",
                permission=Permission("correct forecasts", frozenset({"operator"})),
                offered=offered,
                form=CorrectForm,
            )
        )
    ''',
    "visit.py": '''
        """What a viewer and an operator see and do, in a process that was started with the two apps."""

        import asyncio
        import uuid
        from html import unescape

        import django

        django.setup()

        from django.core.management import call_command
        from django.test import AsyncClient
        from django.test.utils import setup_test_environment
        from django.urls import reverse

        from dashboard.access import Viewer
        from dashboard.form_ids import issue
        from dashboard.live import cached_read
        from dashboard.models import AuditEntry
        from devtools.management.commands.demo_users import person
        from tests.support import eventually
        from workers.client.connection import get_client


        async def page(browser, run, *words):
            async def has():
                cached_read.forget()
                answer = await browser.get(reverse("run", args=["default", run.id, run.result_run_id]))
                assert answer.status_code == 200, answer.content.decode()
                text = unescape(answer.content.decode())
                return text if all(word in text for word in words) else None

            return await eventually(has, timeout=60)


        async def main(operator, viewer):
            client = await get_client()
            run = await client.start_workflow(
                "ForecastWorkflow", "Kiel", id=f"forecast-{uuid.uuid4().hex[:8]}", task_queue="forecast-queue"
            )
            browser, other = AsyncClient(), AsyncClient()
            await browser.aforce_login(operator)
            await other.aforce_login(viewer)
            text = await page(browser, run, "In <b>Kiel</b> it will be 20 °C.", "/action/correct/")
            assert 'aria-label="Forecast"' in text
            assert "Degrees more or less" in text
            text = await page(other, run, "20 °C", "/action/correct/")
            assert "Your role may not correct forecasts. Requires the role operator or admin." in text

            address = reverse("action", args=["default", run.id, run.result_run_id, "correct"])
            made = issue(Viewer("otto"), run.id, run.result_run_id)
            fields = {"form_id": made, "reason": "A warm front.", "change": "7"}
            assert (await other.post(address, fields)).status_code == 403
            wrong = await browser.post(address, {**fields, "change": "700"})
            text = wrong.content.decode()
            assert wrong.status_code == 422, text
            assert 'value="700"' in text and "less than or equal to 50" in text and "A warm front." in text

            done = await browser.post(address, fields, headers={"HX-Request": "true"})
            text = unescape(done.content.decode())
            assert "Applied" in text and f"Corrected {run.id}." in text, text
            assert "Now 27 °C, says otto: A warm front." in text
            await page(browser, run, "In <b>Kiel</b> it will be 27 °C.")
            found = AuditEntry.objects.exclude(phase="event").order_by("id")
            rows = [(row.action, row.phase, row.detail) async for row in found]
            assert rows[0] == ("correct", "intent", "by 7 degrees"), rows
            await run.terminate()


        call_command("migrate", verbosity=0)
        setup_test_environment()
        asyncio.run(main(person("otto", ("operator",))[0], person("vera", ("viewer",))[0]))
        print("all seen")
    ''',
}


@pytest.fixture
def outside(tmp_path: Path, server: str) -> dict[str, str]:
    """The environment of a process that has the two apps."""
    for name, text in FILES.items():
        path = tmp_path / "apps" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text).lstrip())
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "dashboard.settings",
        "PYTHONPATH": f"{tmp_path / 'apps'}{os.pathsep}{ROOT}",
        "SIGNALBOX_APPS": "orders,forecast,correction",
        "SIGNALBOX_MODE": "development",
        "SIGNALBOX_STATE_DIR": str(tmp_path / "state"),
        "TEMPORAL_ADDRESS": conf().address,
    }


def test_an_app_adds_a_panel_and_a_workflow_and_another_one_an_action(
    outside: dict[str, str], tmp_path: Path
):
    log = (tmp_path / "worker.log").open("w+")
    command = [sys.executable, "manage.py", "runworker", "forecast-queue"]
    worker = subprocess.Popen(command, cwd=ROOT, env=outside, stdout=log, stderr=log)
    try:
        visit = subprocess.run(
            [sys.executable, str(tmp_path / "apps" / "visit.py")],
            cwd=tmp_path,
            env=outside,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
    finally:
        worker.terminate()
        worker.wait(30)
    log.seek(0)
    assert "all seen" in visit.stdout, f"{visit.stderr}\n{log.read()}"
