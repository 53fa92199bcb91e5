"""Query text: every value is found literally on a real server, and raw text never leaves its
parentheses."""

from __future__ import annotations

import uuid

import pytest
from django.http import QueryDict
from temporalio.api.enums.v1 import IndexedValueType as Indexed
from temporalio.common import SearchAttributePair, TypedSearchAttributes

from dashboard.access import Viewer
from dashboard.conf import conf
from dashboard.live import cached_read
from dashboard.pages.workflows.view import read_list
from dashboard.query.query import Filter, Refused, Term, compile_filter
from tests.support import eventually
from workers.client.attributes import PLATFORM, STAGE, TENANT_ID
from workers.client.visibility import Unusable, compare, quote

VERA = Viewer("vera", frozenset({"viewer"}))
TYPES = {key.name: int(key.indexed_value_type) for key in PLATFORM}
NASTY = (
    "plain",
    "it's",
    "'quoted'",
    "'",
    "''",
    '"double"',
    '"',
    "\\",
    "back\\slash",
    "ends in \\",
    "\\'",
    "a' OR 'a'='a",
    "') OR (TenantId = 'x",
    "x' -- comment",
    "/* no comment */",
    "; #",
    "100%",
    "under_score",
    "a%b!",
    "Grüße, 🚂",
    "two\nlines",
    "tab\there",
    "carriage\rreturn",
    "\\n",
    "`tick`",
    "null",
    " space around ",
    "IS NOT NULL",
)


async def listed(narrowed: Filter) -> list[str]:
    """Ids on the first page of a list that is read anew."""
    cached_read.forget()
    seen = await read_list(VERA, narrowed)
    assert seen.value, seen.notice
    return sorted(row.workflow_id for row in seen.value.rows)


@pytest.fixture
async def nasty(client, queue) -> dict[str, str]:
    """A run for each nasty text, with that as its Stage; text by workflow id."""
    prefix = f"nasty-{uuid.uuid4().hex[:8]}"
    ids = {f"{prefix}-{at}": text for at, text in enumerate(NASTY)}
    for workflow_id, text in ids.items():
        attributes = TypedSearchAttributes([SearchAttributePair(STAGE, text)])
        await client.start_workflow("Nobody", id=workflow_id, task_queue=queue, search_attributes=attributes)
    narrowed = Filter(prefix=prefix)

    async def all_there():
        return len(await listed(narrowed)) == len(NASTY)

    await eventually(all_there)
    return ids


async def test_every_nasty_value_is_found_literally_and_alone(nasty):
    prefix = next(iter(nasty)).rpartition("-")[0]
    for workflow_id, text in nasty.items():
        found = await listed(Filter(prefix=prefix, terms=(Term("Stage", "=", text),)))
        assert found == [workflow_id], f"{text!r} found {found}"


async def test_others_than_a_nasty_value_and_those_that_start_with_it(nasty):
    prefix = next(iter(nasty)).rpartition("-")[0]
    for text in ("'quoted'", "back\\slash", "it's", "two\nlines", '"'):
        others = await listed(Filter(prefix=prefix, terms=(Term("Stage", "!=", text),)))
        assert others == sorted(key for key, value in nasty.items() if value != text), text
        starts = await listed(Filter(prefix=prefix, terms=(Term("Stage", "STARTS_WITH", text),)))
        assert starts == sorted(key for key, value in nasty.items() if value.startswith(text)), text


async def test_unusual_ids_are_found_by_their_start(client, queue):
    prefix = f'it\'s \\ "odd" 🚂/{uuid.uuid4().hex[:8]}'
    await client.start_workflow("Nobody", id=f"{prefix}/one", task_queue=queue)

    async def found():
        return await listed(Filter(prefix=prefix))

    assert await eventually(found) == [f"{prefix}/one"]


async def test_a_null_character_never_reaches_the_server(client):
    with pytest.raises(Refused) as refused:
        await read_list(VERA, Filter(terms=(Term("Stage", "=", "a\x00b"),)))
    assert "null character" in refused.value.errors["terms.0"]


@pytest.mark.parametrize(
    ("kind", "text", "written"),
    [
        (Indexed.INDEXED_VALUE_TYPE_INT, " 3 ", "3"),
        (Indexed.INDEXED_VALUE_TYPE_DOUBLE, "5e2", "500"),
        (Indexed.INDEXED_VALUE_TYPE_DOUBLE, "-0.5", "-0.5"),
        (Indexed.INDEXED_VALUE_TYPE_BOOL, "True", "true"),
        (Indexed.INDEXED_VALUE_TYPE_DATETIME, "2026-11-21", "'2026-11-21T00:00:00Z'"),
        (Indexed.INDEXED_VALUE_TYPE_DATETIME, "2026-11-21T14:30+02:00", "'2026-11-21T12:30:00Z'"),
        (Indexed.INDEXED_VALUE_TYPE_KEYWORD, "3", "'3'"),
    ],
)
def test_values_are_written_by_their_type(kind, text, written):
    assert compare("A", "=", text, kind).clause == f"`A` = {written}"


@pytest.mark.parametrize(
    ("kind", "operator", "text", "said"),
    [
        (Indexed.INDEXED_VALUE_TYPE_INT, "=", "fifty", "whole number"),
        (Indexed.INDEXED_VALUE_TYPE_INT, "=", "1 OR 1=1", "whole number"),
        (Indexed.INDEXED_VALUE_TYPE_DOUBLE, ">", "12.480,00", "with a point"),
        (Indexed.INDEXED_VALUE_TYPE_DOUBLE, ">", "inf", "not a number"),
        (Indexed.INDEXED_VALUE_TYPE_BOOL, "=", "perhaps", "true or false"),
        (Indexed.INDEXED_VALUE_TYPE_DATETIME, "<", "tomorrow", "not a time"),
        (Indexed.INDEXED_VALUE_TYPE_BOOL, ">", "true", "cannot be compared"),
        (Indexed.INDEXED_VALUE_TYPE_KEYWORD, "= 'x' OR `A` =", "x", "cannot be compared"),
        (Indexed.INDEXED_VALUE_TYPE_KEYWORD, ">", "a\\b", "cannot compare"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_with_a_sentence(kind, operator, text, said):
    with pytest.raises(Unusable, match=said):
        compare("A", operator, text, kind)


@pytest.mark.parametrize(
    "raw",
    [
        "Stage = 'open",
        "(Stage = 'a'",
        "Stage = 'a')",
        "Stage = 'a') OR (Stage = 'b'",
        "Stage = 'a' -- ",
        "Stage = 'a' /* (",
        "Stage = 'a' # x",
        "Stage = 'a'; x",
        "Stage = 'a\\') OR TenantId = 'b' -- ",
        "Stage = 'a' GROUP BY ExecutionStatus",
        "order  by StartTime",
        "Stage = 'a' LIMIT 3",
        "Stage = 'a' UNION SELECT 1",
        "x" * 5000,
    ],
)
def test_raw_text_that_could_leave_its_parentheses_is_refused(raw):
    with pytest.raises(Refused) as refused:
        compile_filter(Filter(raw=raw), VERA, TYPES)
    assert set(refused.value.errors) == {"raw"}


def test_scope_stands_before_whatever_is_typed(settings):
    settings.DASHBOARD = conf().model_copy(update={"tenancy": "attribute"})
    acme = Viewer("vera", frozenset({"viewer"}), tenant="o'acme")
    compiled = compile_filter(Filter(raw="Stage = 'a' OR Stage = 'b'", status="Failed"), acme, TYPES)

    scope, raw = "(TenantId = 'o''acme')", "`Stage` = 'a' OR `Stage` = 'b'"
    assert compiled.scoped.text == f"{scope} AND (`ExecutionStatus` = 'Failed' AND ({raw}))"
    assert compiled.any_status.text == f"{scope} AND ({raw})"
    assert "TenantId" not in compiled.typed


async def test_no_raw_text_shows_runs_of_another_tenant(client, queue, settings):
    settings.DASHBOARD = conf().model_copy(update={"tenancy": "attribute"})
    mark = f"t{uuid.uuid4().hex[:8]}"
    for tenant in ("acme", "rival"):
        pairs = [SearchAttributePair(TENANT_ID, tenant), SearchAttributePair(STAGE, mark)]
        await client.start_workflow(
            "Nobody", id=f"{mark}-{tenant}", task_queue=queue, search_attributes=TypedSearchAttributes(pairs)
        )
    acme = Viewer("vera", frozenset({"viewer"}), tenant="acme")
    raws = (
        f"Stage = '{mark}'",
        f"Stage = '{mark}' OR TenantId = 'rival'",
        f"TenantId = 'rival' OR (Stage = '{mark}')",
        f"Stage = '{mark}' AND TenantId != 'acme' OR WorkflowId = '{mark}-rival'",
    )

    async def both_visible():
        return (await client.count_workflows(f"Stage = '{mark}'")).count == 2

    await eventually(both_visible)
    for raw in raws:
        cached_read.forget()
        seen = await read_list(acme, Filter(raw=raw))
        assert f"{mark}-rival" not in [row.workflow_id for row in seen.value.rows], raw


def test_a_filter_survives_the_address():
    text = "type=T&status=Running&id=a%2F&a=Stage&op=STARTS_WITH&v=it%27s&a=&op=%3D&v=&q=x+%3D+1"
    narrowed = Filter.from_params(QueryDict(text))

    assert narrowed.terms == (Term("Stage", "STARTS_WITH", "it's"),)
    assert narrowed.prefix == "a/"
    assert Filter.from_params(QueryDict(narrowed.to_params())) == narrowed


def test_every_problem_of_a_filter_is_told_at_once():
    narrowed = Filter(
        raw="(", after="soon", condition="odd", terms=(Term("Nope", "=", "1"), Term("Deadline", "=", "x"))
    )
    with pytest.raises(Refused) as refused:
        compile_filter(narrowed, VERA, TYPES)
    assert set(refused.value.errors) == {"raw", "after", "condition", "terms.0", "terms.1"}


def test_quotes_are_doubled():
    assert quote("it's \\") == "'it''s \\\\'"
