"""Plugins: names of their own, found by setting and by entry point, and what is wrong with them."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint, EntryPoints
from typing import Any

import pytest
from temporalio import activity
from temporalio.worker import Interceptor, Replayer, Worker

from tests.examples import mailer, postman
from workers.client.launch import launch
from workers.conf import conf
from workers.patterns.dynamic.activities import refuse_unknown
from workers.process.plugins import worker_plugins
from workers.registry.definitions import activity_name
from workers.registry.plugins import Plugin, name_problems
from workers.registry.registry import GROUP, Registry, registry


@pytest.fixture
def own() -> Registry:
    return Registry()


def test_two_plugins_may_have_functions_of_the_same_name():
    registry.load()
    known = registry.activities()
    assert mailer.send.__name__ == postman.send.__name__
    assert known["mailer.send"] is mailer.send
    assert known["postman.send"] is postman.send
    assert registry.queue_of(mailer.Mailing) == registry.queue_of("postman.Mailing") == "mail-queue"


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


def test_a_plugin_is_found_by_its_entry_point(own, settings, monkeypatch):
    point = EntryPoint("mailer", "tests.examples.mailer", GROUP)
    monkeypatch.setattr(
        "workers.registry.registry.entry_points", lambda *, group: EntryPoints([point]).select(group=group)
    )
    assert load(own, settings) == []
    assert own.activities() == {"mailer.send": mailer.send}
    assert own.plugins == {"mailer": mailer.plugin}


NAMED_LIKE_ALL_OTHERS = """
from temporalio import activity
from workers.registry.plugins import Plugin
plugin = Plugin("mailer")

@plugin.activity("mail-queue")
@activity.defn
async def send() -> None: ...
"""


def test_a_definition_without_the_name_of_its_plugin_is_told_with_the_name_to_give(
    own, settings, tmp_path, monkeypatch
):
    path = written(tmp_path, monkeypatch, "nameless_plugin", NAMED_LIKE_ALL_OTHERS)
    [told] = load(own, settings, path)
    assert "nameless_plugin.py:6" in told
    assert '@activity.defn(name="mailer.send")' in told


def test_two_plugins_of_one_name_are_told_with_both_places(own):
    own.install(Plugin("mailer"), mailer.plugin)
    [problem] = own.problems()
    assert "shadows" in problem.what
    assert "mailer.py" in problem.where
    assert "test_plugins.py" in problem.what


def test_a_plugin_that_shadows_a_name_of_the_core_is_told(own):
    @activity.defn(name="mailer.send")
    async def first() -> None: ...

    own.add("mail-queue", activities=[first])
    own.install(mailer.plugin)
    [problem] = own.problems()
    assert "mailer.send is registered already" in problem.what
    assert own.queues["mail-queue"].activities == (first,)


@pytest.mark.parametrize("name", ["", "Mailer", "mailer.core", "x" * 41])
def test_a_name_that_cannot_stand_before_others_is_told(name):
    assert ["cannot be the name" in problem.what for problem in name_problems(Plugin(name))] == [True]


class Counter:
    """An activity that is an object."""

    async def __call__(self) -> int:
        return 1


def test_an_object_may_be_an_activity_of_a_plugin(own):
    plugin = Plugin("mailer")
    plugin.add("q", activities=[activity.defn(name="mailer.count")(Counter())])
    own.install(plugin)
    [made] = own.queues["q"].activities
    assert activity_name(made) == "mailer.count"
    assert [*name_problems(plugin), *own.problems()] == []


def test_a_plugin_has_no_dynamic_definitions(own):
    plugin = Plugin("mailer")
    plugin.add("q", activities=[refuse_unknown])
    own.install(plugin)
    [problem] = own.problems()
    assert "dynamic definition" in problem.what
    assert not [*name_problems(plugin)]


def test_an_undecorated_function_of_a_plugin_is_told(own):
    def loose() -> None: ...

    plugin = Plugin("mailer")
    plugin.add("q", activities=[loose])
    own.install(plugin)
    assert ["is not decorated" in p.what for p in [*name_problems(plugin), *own.problems()]] == [True]


class Marker(Interceptor):
    """Does nothing, but is there."""


async def test_a_plugin_serves_workers_and_replayers_with_interceptors_of_their_own(
    client, queue, monkeypatch
):
    monkeypatch.setitem(registry.plugins, "marking", Plugin("marking", interceptors=lambda: [Marker()]))

    def marker(made: Worker | Replayer) -> list[int]:
        found: Any = made.config(active_config=True)["interceptors"]
        names = [type(item).__name__ for item in found]
        assert names[0] == "AttemptsInterceptor"
        assert names[-3:] == ["Marker", "VersioningInterceptor", "PayloadInterceptor"]
        return [id(item) for item in found if isinstance(item, Marker)]

    one = marker(Worker(client, task_queue=queue, workflows=[mailer.Mailing], plugins=worker_plugins()))
    other = marker(Replayer(workflows=[mailer.Mailing], plugins=worker_plugins()))
    assert len(one) == len(other) == 1
    assert one != other
