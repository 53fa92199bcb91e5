"""The list page: filters in the address, chips, pages, errors beside their fields, Temporal away."""

from __future__ import annotations

import re
import uuid
from html import unescape

import pytest
from django.test import AsyncClient
from temporalio.common import SearchAttributeKey, SearchAttributePair

from dashboard import extend
from dashboard.extend import Column, Money, Pipeline, Stage
from dashboard.live import cached_read
from dashboard.pages.workflows import view
from dashboard.temporal_api import lists
from tests.dashboard.factories import start_run
from tests.support import HTMX, eventually
from workers.client import connection
from workers.client.errors import TemporalUnavailable
from workers.conf import conf

pytestmark = pytest.mark.django_db(transaction=True)
AMOUNT = SearchAttributeKey.for_float("OrderAmount")
URL = "/ns/default/workflows/"


@pytest.fixture
async def browser(client, viewer_user):
    cached_read.forget()
    made = AsyncClient()
    await made.aforce_login(viewer_user)
    return made


@pytest.fixture
def wagon(monkeypatch) -> str:
    """A type of workflow with a line that no other test has."""
    name = f"Wagon{uuid.uuid4().hex[:8]}"
    line = Pipeline(name, "Wagons", (Stage("charging", "Charging it"), Stage("shipping", "Shipping it")))
    monkeypatch.setattr(extend, "pipelines", {name: line})
    monkeypatch.setattr(extend, "moneys", {name: Money(name, "OrderAmount", "currency")})
    columns = (Column("OrderAmount", "Amount", kind="money"), Column("customer_name", "Customer", "memo"))
    monkeypatch.setattr(extend, "columns", {column.key: column for column in columns})
    return name


async def page(browser, **params) -> str:
    """The page as text; everything that is remembered is forgotten first."""
    cached_read.forget()
    response = await browser.get(URL, params)
    assert response.status_code == 200, response.content.decode()
    return unescape(response.content.decode())


def rows(text: str) -> list[str]:
    """Ids on a page, in order."""
    return re.findall(r'<a class="id" href="[^"]*">([^<]*)</a>', text)


def errors_at(text: str, name: str) -> list[str]:
    """The sentences to which the fields of a name point as what describes them, where they are marked."""
    fields = re.findall(rf'<(?:input|select|textarea)[^>]* name="{name}"[^>]*>', text)
    marked = [field for field in fields if 'aria-invalid="true"' in field]
    ids = [re.search(r'aria-describedby="(?:[^"]* )?([^" ]*_error)"', field)[1] for field in marked]
    spans = (re.search(rf'<span class="err" id="{error}">(.*?)</span>', text)[1] for error in ids)
    return [unescape(re.sub(r"<svg.*?</svg>", "", span)) for span in spans]


async def some(client, queue, wagon, count: int = 1, **attributes) -> list[str]:
    """Start some and wait until they are listed."""
    ids = [f"{wagon}-{at:03}" for at in range(count)]
    for workflow_id in ids:
        await start_run(client, queue, workflow_id, workflow_type=wagon, **attributes)

    async def listed():
        return (await client.count_workflows(f"WorkflowType = '{wagon}'")).count == count

    await eventually(listed)
    return ids


async def test_a_row_shows_what_the_app_registered(client, queue, browser, wagon):
    memo = {"customer_name": "Aster & <Vale>", "currency": "EUR"}
    extra = (SearchAttributePair(AMOUNT, 12480.0),)
    await some(client, queue, wagon, waiting_for="breaker:payments", stage="shipping", memo=memo, extra=extra)

    text = await page(browser, type=wagon)
    raw = (await browser.get(URL, {"type": wagon})).content.decode()

    assert rows(text) == [f"{wagon}-000"]
    assert "€12,480.00" in text
    assert "Shipping it" in text
    assert "Held" in text
    assert ">payments<" in text
    assert "Aster &amp; &lt;Vale&gt;" in raw
    assert "<Vale>" not in raw


async def test_a_column_of_one_type_stays_off_the_rows_of_others(client, queue, browser, wagon, monkeypatch):
    other = f"{wagon}Other"
    for name in (wagon, other):
        await start_run(client, queue, f"{name}-1", workflow_type=name, memo={"cargo": f"salt of {name}"})
    monkeypatch.setitem(
        extend.columns, (wagon, "cargo"), Column("cargo", "Cargo", "memo", workflow_type=wagon)
    )

    async def listed():
        text = await page(browser, id=wagon)
        return text if len(rows(text)) == 2 else None

    text = await eventually(listed)
    assert f"salt of {wagon}<" in text
    assert f"salt of {other}" not in text
    assert "Cargo</th>" not in await page(browser, type=other)


async def test_the_region_is_the_same_list_without_its_frame(client, queue, browser, wagon):
    await some(client, queue, wagon)

    cached_read.forget()
    response = await browser.get(URL, {"type": wagon}, headers=HTMX)

    text = response.content.decode()
    assert response.status_code == 200
    assert text.startswith('<div id="workflows"')
    assert rows(text) == [f"{wagon}-000"]
    assert "<form" not in text


async def test_chips_count_conditions_and_statuses(client, queue, browser, wagon):
    await some(client, queue, wagon, 3, waiting_for="approval", stage="charging")
    handle = client.get_workflow_handle(f"{wagon}-001")
    await handle.terminate()

    async def counted():
        text = await page(browser, type=wagon)
        chips = dict(re.findall(r"</svg>([A-Z][a-z ]+)</span><b>([^<]*)</b>", text))
        return chips if chips.get("Terminated") == "1" and chips.get("Waiting") == "2" else None

    chips = await eventually(counted)
    assert (chips["Open"], chips["Held"]) == ("2", "0")
    assert rows(await page(browser, type=wagon, status="Terminated")) == [f"{wagon}-001"]
    assert sorted(rows(await page(browser, condition="waiting"))) == [f"{wagon}-000", f"{wagon}-002"]


async def test_pages_follow_each_other_to_an_end(client, queue, browser, wagon):
    ids = await some(client, queue, wagon, 41)
    url, seen = f"{URL}?type={wagon}&size=20", list[list[str]]()
    while url:
        cached_read.forget()
        text = unescape((await browser.get(url)).content.decode())
        seen.append(rows(text))
        found = re.search(r'href="([^"]*)" rel="next">Next 20<', text)
        url = found[1] if found else ""

    assert [len(part) for part in seen] == [20, 20, 1]
    assert sorted(workflow_id for part in seen for workflow_id in part) == ids
    assert "Rows 41 to 41 of 41" in text
    assert "First page" in text


async def test_a_full_last_page_has_no_next_and_an_empty_one_says_so(client, queue, browser, wagon):
    await some(client, queue, wagon, 20)
    text = await page(browser, type=wagon, size="20")
    assert 'rel="next"' not in text

    found = re.search(
        r'href="([^"]*)" rel="next"', await page(browser, type=wagon, size="20", a="Stage", op="IS NULL")
    )
    assert found is None


async def test_a_syntax_error_stands_beside_the_field_which_keeps_its_text(browser):
    typed = "Stage = = 'a' AND <b>"
    response = await browser.get(URL, {"q": typed})

    text = response.content.decode()
    assert response.status_code == 400
    assert unescape(re.search(r"<textarea[^>]*>\n([^<]*)</textarea>", text)[1]) == typed
    (error,) = errors_at(text, "q")
    assert "Write a value here" in error
    assert "(character 9 of your text, at “= 'a' AND <b>”)" in error
    assert "</html>" in text


async def test_every_wrong_field_has_its_own_sentence(browser):
    params = {
        "q": "(",
        "after": "soon",
        "a": ["Deadline", "Nope", "Stage"],
        "op": ["=", "=", "~"],
        "v": ["never", "1", "x"],
    }
    response = await browser.get(URL, params)

    text = response.content.decode()
    assert response.status_code == 400
    assert errors_at(text, "q") == [
        "Write the name of a search attribute here, such as Stage. (the end of your text)"
    ]
    assert errors_at(text, "after") == ["“soon” is not a time; write it as 2026-11-21 or 2026-11-21T14:30."]
    assert errors_at(text, "v")[0].startswith("“never” is not a time")
    assert errors_at(text, "a") == ["This server has no search attribute Nope."]
    assert errors_at(text, "op") == ["Stage cannot be compared by ~."]
    for kept in (
        'value="soon"',
        'value="never"',
        '<option value="Nope" selected',
        '<option value="~" selected',
    ):
        assert kept in text


async def test_the_fields_of_an_attribute_fit_its_type(client, browser):
    params = {
        "a": ["Deadline", "WaitingFor", "OrderAmount"],
        "op": [">=", "!=", "="],
        "v": ["2026-11-21T16:30+02:00", "approval", "12.5"],
    }
    text = await page(browser, after="2026-11-21", before="2026-11-21T14:30:05", **params)

    def field(field_id: str) -> str:
        return re.search(rf'<(?:input|select)[^>]* id="{field_id}".*?(?:</select>|>)', text, re.DOTALL)[0]

    def operators(row: int) -> list[str]:
        return re.findall(
            r'<option value="([^"]+)"',
            re.search(rf'<select[^>]*id="id_{row}_op".*?</select>', text, re.DOTALL)[0],
        )

    assert 'type="datetime-local"' in field("id_0_v")
    assert 'value="2026-11-21T14:30"' in field("id_0_v")
    assert 'value="2026-11-21T00:00"' in field("id_after")
    assert 'value="2026-11-21T14:30:05"' in field("id_before")
    for label, count in {
        "Started from (UTC)": 1,
        "Started before (UTC)": 1,
        "Value (UTC)": 1,
        "Value": 3,
    }.items():
        assert text.count(f">{label}</label>") == count
    assert 'type="text"' in field("id_1_v")
    assert 'type="number"' in field("id_2_v")
    assert operators(0) == ["=", "!=", ">", ">=", "<", "<=", "IS NULL", "IS NOT NULL"]
    assert operators(1) == ["=", "!=", "IS NULL", "IS NOT NULL"]
    assert "STARTS_WITH" in operators(3)  # of a row without an attribute
    assert 'data-operators="=|!=|IS NULL|IS NOT NULL" data-input="text">WaitingFor' in text.replace(
        " selected", ""
    )


async def test_types_that_run_are_offered_without_being_registered(client, queue, browser, wagon):
    other = f"{wagon}Unregistered"
    await start_run(client, queue, f"{other}-1", workflow_type=other)

    async def offered():
        return f'<option value="{other}">' in await page(browser, type=wagon)

    await eventually(offered)


async def test_order_by_is_explained(browser):
    response = await browser.get(URL, {"q": "Stage = 'a' ORDER BY StartTime"})

    assert response.status_code == 400
    assert "ORDER BY cannot be used here" in response.content.decode()


@pytest.mark.parametrize(
    "params", [{"page": "???"}, {"page": "AAAA"}, {"size": "1e9"}, {"size": "-1"}, {"row": "x"}]
)
async def test_a_mangled_address_is_no_crash(browser, params):
    response = await browser.get(URL, params)

    assert response.status_code in (200, 400)
    assert "</html>" in response.content.decode()


async def test_temporal_away_shows_the_last_list_with_its_age(client, queue, browser, wagon, settings):
    await some(client, queue, wagon)
    before = await page(browser, type=wagon)
    settings.WORKERS = conf().model_copy(update={"address": "127.0.0.1:1"})
    connection.set_client(None)
    for slot in map(cached_read._slots.get, cached_read._slots):
        slot.fresh_until = 0.0
    try:
        gone = await browser.get(URL, {"type": wagon})
        other = await browser.get(URL, {"type": "Another"})
    finally:
        connection.set_client(client)

    text = gone.content.decode()
    assert gone.status_code == 200
    assert rows(text) == rows(before) == [f"{wagon}-000"]
    assert "Temporal is unreachable" in text
    assert "What you see is from" in text
    assert other.status_code == 200
    assert "there is nothing to show" in other.content.decode()


async def test_counts_that_fail_do_not_take_the_list_with_them(client, queue, browser, wagon, monkeypatch):
    await some(client, queue, wagon)

    async def failing(*_):
        raise TemporalUnavailable("Temporal did not answer in time.")

    monkeypatch.setattr(view, "count_by_status", failing)
    monkeypatch.setattr(view, "condition_totals", failing)
    monkeypatch.setattr(view, "latest_scan", failing)

    text = await page(browser, type=wagon)

    assert rows(text) == [f"{wagon}-000"]
    assert "Temporal is unreachable" not in text
    assert "Rows 1 to 1; the server did not count them." in text


async def test_without_our_attributes_everything_else_works(client, queue, browser, wagon, monkeypatch):
    await some(client, queue, wagon)
    monkeypatch.setattr(lists, "_types", {})

    async def none(_client):
        return {}

    monkeypatch.setattr(lists.attributes, "registered", none)
    text = await page(browser, type=wagon)
    refused = await browser.get(URL, {"condition": "held"})

    assert rows(text) == [f"{wagon}-000"]
    assert "This server has no search attributes SagaState, WaitingFor, Stage" in text
    assert "Waits for" not in text
    assert refused.status_code == 400
    assert "which this server does not have" in refused.content.decode()


async def test_the_page_is_small_and_asks_for_little(client, queue, browser, wagon):
    memo = {"customer_name": "Aster & Vale", "currency": "EUR"}
    extra = (SearchAttributePair(AMOUNT, 12480.0),)
    await some(client, queue, wagon, 100, stage="charging", memo=memo, extra=extra, waiting_for="approval")

    cached_read.forget()
    body = (await browser.get(URL, {"type": wagon})).content

    assert len(rows(body.decode())) == 100
    assert len(body) < 120_000


async def test_a_wrong_query_shows_no_conditions_where_the_server_has_none(browser, wagon, monkeypatch):
    async def none(client):
        return {}

    monkeypatch.setattr(view, "attribute_types", none)
    response = await browser.get(URL, {"q": "nonsense ("})
    assert response.status_code == 400
    assert 'aria-label="Condition"' not in response.content.decode()


async def test_no_match_so_far_is_not_the_end_of_the_list(client, queue, browser, wagon, monkeypatch):
    monkeypatch.setattr(lists, "MOST_PAGES", 1)
    await some(client, queue, wagon, 21)
    text = await page(browser, id=f'{wagon}-"', size="20")  # compared here: the server cannot
    assert "None so far" in text
    assert "Nothing matches" not in text
    following = unescape(re.search(r'href="([^"]*)" rel="next"', text)[1])
    assert "Nothing follows" in (await browser.get(following)).content.decode()


async def test_a_status_that_this_server_does_not_have_is_not_offered(browser, wagon, monkeypatch):
    assert '<option value="Paused"' not in await page(browser, type=wagon)

    async def counts(client, query):
        return {"Running": 2, "Paused": 1}

    monkeypatch.setattr(view, "count_by_status", counts)
    text = await page(browser, type=wagon)
    assert '<option value="Paused"' in text
    assert "Paused</span><b>1</b>" in text
    assert "Running</span><b>2</b>" in text
