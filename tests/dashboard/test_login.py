"""Signing in and out, the way back, and the lock after five failures."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def anna(approver_user):
    approver_user.set_password("correct horse")
    approver_user.save()
    return approver_user


async def sign_in(client, password="correct horse", **extra):
    return await client.post("/login/", {"username": "anna", "password": password, **extra})


async def test_the_form_comes_with_the_way_back(async_client):
    response = await async_client.get("/login/", {"next": "/workflows/?q=a"})
    assert response.status_code == 200
    assert 'name="next" value="/workflows/?q=a"' in response.content.decode()


async def test_in_and_back_to_where_one_came_from(async_client, anna):
    response = await sign_in(async_client, next="/audit/?before=3")
    assert (response.status_code, response["Location"]) == (302, "/audit/?before=3")
    assert (await async_client.get("/login/"))["Location"] == "/"


@pytest.mark.parametrize(
    "target", ["https://evil.example/", "//evil.example", "javascript:alert(1)", r"\\evil"]
)
async def test_never_to_another_site(async_client, anna, target):
    assert (await sign_in(async_client, next=target))["Location"] == "/"


async def test_a_wrong_password_keeps_the_name(async_client, anna):
    response = await sign_in(async_client, "wrong")
    assert response.status_code == 422
    text = response.content.decode()
    assert "Name and password do not match" in text
    assert 'value="anna"' in text
    assert "wrong" not in text


async def test_an_account_that_is_off_cannot_sign_in(async_client, anna):
    anna.is_active = False
    await anna.asave()
    assert (await sign_in(async_client)).status_code == 422


async def test_five_failures_lock_the_name_and_say_until_when(async_client, anna):
    answers = [await sign_in(async_client, "wrong") for _ in range(5)]
    assert [answer.status_code for answer in answers] == [422, 422, 422, 422, 429]
    assert "Try again at" in answers[-1].content.decode()
    right = await sign_in(async_client)
    assert right.status_code == 429
    assert 0 < int(right["Retry-After"]) <= 900


async def test_out_by_post_only(async_client, anna):
    await sign_in(async_client)
    assert (await async_client.get("/logout/")).status_code == 405
    response = await async_client.post("/logout/")
    assert (response.status_code, response["Location"]) == (302, "/login/")
    assert (await async_client.get("/audit/")).status_code == 302
