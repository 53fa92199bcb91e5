"""Signing in and out, the way back, and the lock after five failures."""

from __future__ import annotations

import pytest
from django.test import Client

from dashboard.web import lockout

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
    assert text.count('aria-invalid="true" aria-describedby="login-error"') == 2
    assert 'id="login-error"' in text


async def test_an_empty_field_is_named_by_its_error(async_client):
    text = (await async_client.post("/login/", {"username": "anna"})).content.decode()
    assert 'aria-describedby="password-error"' in text
    assert 'id="password-error"' in text
    assert "username-error" not in text


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


def failures(times, name="anna", address="203.0.113.1", **headers):
    """The status of each of some wrong passwords from an address."""
    browser = Client(REMOTE_ADDR=address, headers=headers)
    wrong = {"username": name, "password": "wrong"}
    return [browser.post("/login/", wrong).status_code for _ in range(times)]


def signs_in(name, address):
    """Whether the right password is taken."""
    right = {"username": name, "password": "correct horse"}
    return Client(REMOTE_ADDR=address).post("/login/", right).status_code == 302


def test_a_header_does_not_pass_the_lock(anna):
    answers = []
    for number in range(6):
        answers += failures(1, **{"X-Forwarded-For": f"198.51.100.{number}"})
    assert answers == [422, 422, 422, 422, 429, 429]


def test_a_name_is_locked_when_many_addresses_guess(anna, monkeypatch):
    monkeypatch.setattr(lockout, "LIMITS", (5, 10, 10))
    answers = [
        *failures(3, address="203.0.113.1"),
        *failures(3, address="203.0.113.2"),
        *failures(4, address="203.0.113.3"),
    ]
    assert answers == [422] * 9 + [429]
    assert failures(1, address="203.0.113.4") == [429]


def test_an_address_is_locked_when_it_tries_many_names(anna, monkeypatch):
    monkeypatch.setattr(lockout, "LIMITS", (5, 10, 10))
    answers = []
    for number in range(11):
        answers += failures(1, name=f"name{number}")
    assert answers == [422] * 9 + [429, 429]
    assert failures(1, name="other", address="203.0.113.2") == [422]


def test_failures_elsewhere_lock_nobody_out_of_a_known_address(anna, monkeypatch):
    monkeypatch.setattr(lockout, "LIMITS", (5, 10, 10))
    assert signs_in("anna", "192.0.2.7")
    for number in range(4):
        failures(3, address=f"203.0.113.{number}")
    assert failures(1, address="203.0.113.9") == [429]
    assert signs_in("anna", "192.0.2.7")


def test_an_account_of_ones_own_clears_no_count(anna, viewer_user, monkeypatch):
    monkeypatch.setattr(lockout, "LIMITS", (5, 50, 10))
    viewer_user.set_password("correct horse")
    viewer_user.save()
    for number in range(9):
        failures(1, name=f"name{number}")
    assert signs_in("vera", "203.0.113.1")
    assert failures(1, name="name10") == [429]


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("", "0.0.0.0"),
    ],
)
def test_addresses_of_one_network_are_one(rf, address, counted):
    assert lockout.client_address(rf.get("/", REMOTE_ADDR=address)) == counted
