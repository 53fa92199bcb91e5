"""Plugins: names of their own, found by setting and by entry point, and what is wrong with them."""

from __future__ import annotations

import inspect
import sys
from importlib.metadata import EntryPoint, EntryPoints

import pytest
from temporalio import activity
from temporalio.testing import ActivityEnvironment

from tests.examples import mailer, postman
from workers.client.launch import launch
from workers.conf import conf
from workers.patterns.dynamic.activities import refuse_unknown
from workers.registry.definitions import activity_name, workflow_name
from workers.registry.plugins import Plugin
from workers.registry.registry import GROUP, Registry, registry


@pytest.fixture
def own() -> Registry:
    return Registry()


def test_two_plugins_may_have_the_same_short_names():
    known = registry.activities()
    assert activity_name(postman.send) == activity_name(mailer.send) == "send"
    assert known["mailer.send"] is not known["postman.send"]
    assert registry.queue_of("mailer.Mailing") == registry.queue_of("postman.Mailing") == "mail-queue"


def test_the_definitions_of_a_plugin_stay_as_they_are():
    assert activity_name(mailer.send) == "send"
    assert workflow_name(mailer.Mailing) == "Mailing"


async def test_plain_code_of_a_plugin_calls_its_own(client, worker):
    async with worker("mail-queue"):
        letter = mailer.Letter(to="ada")
        sent = await launch("mailer.Mailing", letter, id="mailer-ada", client=client)
        carried = await launch("postman.Errand", letter, id="postman-ada", client=client)
        assert await sent.result() == "sent to ada"
        assert await carried.result() == ["carried to ada"] * 3
    history = await carried.fetch_history()
    names = [
        event.activity_task_scheduled_event_attributes.activity_type.name
        for event in history.events
        if event.HasField("activity_task_scheduled_event_attributes")
    ]
    assert names == ["postman.send"]


def written(folder, monkeypatch, name: str, text: str) -> str:
    (folder / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, name, raising=False)
    return name


def load(into: Registry, settings, *paths: str) -> list[str]:
    settings.WORKERS = conf().model_copy(update={"plugins": paths})
    into.load_plugins()
    return [str(problem) for problem in into.problems()]


def test_a_plugin_of_the_settings_that_does_not_import_is_told_with_its_line(
    own, settings, tmp_path, monkeypatch
):
    path = written(tmp_path, monkeypatch, "broken_plugin", "x = 1\nimport no_such_module\n")
    [told] = load(own, settings, path)
    assert "broken_plugin.py:2" in told
    assert "no_such_module" in told


def test_a_module_that_declares_no_plugin_is_told(own, settings):
    [told] = load(own, settings, "textwrap")
    assert "declares none" in told


def test_a_plugin_is_found_by_its_entry_point(settings, monkeypatch):
    point = EntryPoint("mailer", "tests.examples.mailer", GROUP)
    monkeypatch.setattr(
        "workers.registry.registry.entry_points", lambda *, group: EntryPoints([point]).select(group=group)
    )
    assert load(registry, settings) == [str(problem) for problem in registry.problems()]
    assert not [p for p in registry.problems() if "mailer" in str(p)]


def test_two_plugins_of_one_name_are_told_with_both_places(own):
    Plugin("mailer", into=own)
    exec(
        "from workers.registry.plugins import Plugin\nPlugin('mailer', into=own)",
        {"own": own, "__name__": "other"},
    )
    [problem] = own.problems()
    assert "shadows" in problem.what
    assert "test_plugins.py" in problem.what


def test_a_plugin_that_shadows_a_name_of_the_core_is_told(own):
    @activity.defn(name="mailer.send")
    async def first() -> None: ...

    @activity.defn
    async def send() -> None: ...

    own.add("q", activities=[first])
    Plugin("mailer", into=own).add("q", activities=[send])
    [problem] = own.problems()
    assert "mailer.send is registered already" in problem.what
    assert own.queues["q"].activities == (first,)


@pytest.mark.parametrize("name", ["", "Mailer", "mailer.core", "x" * 41])
def test_a_name_that_cannot_stand_before_others_is_told(own, name):
    Plugin(name, into=own)
    assert ["cannot be the name" in problem.what for problem in own.problems()] == [True]


class Counter:
    """An activity that is an object."""

    async def __call__(self) -> int:
        return 1


async def test_an_object_may_be_an_activity_of_a_plugin(own):
    Plugin("mailer", into=own).add("q", activities=[activity.defn(name="count")(Counter())])
    [made] = own.queues["q"].activities
    assert activity_name(made) == "mailer.count"
    assert inspect.iscoroutinefunction(made)
    assert await ActivityEnvironment().run(made) == 1


def test_a_plugin_has_no_dynamic_definitions(own):
    Plugin("mailer", into=own).add("q", activities=[refuse_unknown])
    [problem] = own.problems()
    assert "dynamic definition" in problem.what


def test_an_undecorated_function_of_a_plugin_is_told(own):
    def loose() -> None: ...

    Plugin("mailer", into=own).add("q", activities=[loose])
    assert ["is not decorated" in problem.what for problem in own.problems()] == [True]
