"""Users, projects and roles, and what each of them may do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import urllib3

DEMO = {"project": {"name": "demo", "domain": {"id": "default"}}}
SYSTEM = {"system": {"all": True}}


class Keystone:
    """Asks the identity service without a client in between."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.pool = urllib3.PoolManager(retries=False)

    def log_in(self, user: str, scope: Any = None, password: str = "secret") -> Any:
        shown = {"name": user, "domain": {"id": "default"}, "password": password}
        auth: dict[str, Any] = {"identity": {"methods": ["password"], "password": {"user": shown}}}
        if scope is not None:
            auth["scope"] = scope
        return self.pool.request("POST", self.url + "/v3/auth/tokens", json={"auth": auth})

    def token(self, user: str, scope: Any) -> str:
        answer = self.log_in(user, scope)
        assert answer.status == 201, answer.data
        return str(answer.headers["X-Subject-Token"])

    def ask(self, token: str, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body)
        headers = {"X-Auth-Token": token, "Content-Type": "application/json"}
        return self.pool.request(method, f"{self.url}/v3/{path}", body=data, headers=headers)


@pytest.fixture(scope="module")
def keystone(peripherals: Any) -> Iterator[Keystone]:
    asking = Keystone(peripherals.url("identity"))
    yield asking
    asking.pool.clear()


@pytest.fixture(scope="module")
def admin(keystone: Keystone) -> str:
    return keystone.token("admin", {"project": {"name": "admin", "domain": {"id": "default"}}})


@pytest.fixture(scope="module")
def demo(keystone: Keystone) -> str:
    return keystone.token("demo", DEMO)


def roles(answer: Any) -> set[str]:
    return {role["name"] for role in answer.json()["token"]["roles"]}


def test_a_token_says_whose_it_is_and_for_what(keystone: Keystone) -> None:
    token = keystone.log_in("demo", DEMO).json()["token"]
    assert (token["user"]["name"], token["project"]["name"]) == ("demo", "demo")
    assert {service["type"] for service in token["catalog"]} >= {"identity", "network"}


def test_an_administrator_may_have_a_token_for_the_whole_system(keystone: Keystone) -> None:
    answer = keystone.log_in("admin", SYSTEM)
    assert answer.json()["token"]["system"] == {"all": True}
    assert "project" not in answer.json()["token"]
    assert "admin" in roles(answer)


@pytest.mark.parametrize(
    ("user", "scope"),
    [
        ("demo", SYSTEM),
        ("demo", {"project": {"name": "alt_demo", "domain": {"id": "default"}}}),
        ("demo", {"project": {"name": "demo", "domain": {"id": "other"}}}),
        ("demo", {"project": {}}),
        ("demo", {"domain": {"id": "default"}}),
        ("demo", "all"),
        ("demo", []),
        ("nobody", DEMO),
        ("", DEMO),
    ],
)
def test_nobody_gets_a_token_for_what_he_has_no_role_in(
    keystone: Keystone, user: str, scope: Any
) -> None:
    assert keystone.log_in(user, scope).status == 401


@pytest.mark.parametrize("auth", [{}, {"identity": []}, {"identity": {"methods": 1}}])
def test_what_is_no_authentication_is_refused(keystone: Keystone, auth: Any) -> None:
    url = keystone.url + "/v3/auth/tokens"
    assert keystone.pool.request("POST", url, json={"auth": auth}).status == 401


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "projects", None),
        ("POST", "projects", {"project": {"name": "mine"}}),
        ("GET", "users", None),
        ("POST", "users", {"user": {"name": "me"}}),
        ("GET", "role_assignments", None),
        ("GET", "domains", None),
    ],
)
def test_only_an_administrator_may(
    keystone: Keystone, demo: str, admin: str, method: str, path: str, body: Any
) -> None:
    refused = keystone.ask(demo, method, path, body)
    assert (refused.status, refused.json()["error"]["code"]) == (403, 403)
    assert keystone.ask(admin, method, path, body).status < 300


def test_a_user_may_see_himself_and_his_project_alone(keystone: Keystone, demo: str) -> None:
    token = keystone.log_in("demo", DEMO).json()["token"]
    other = keystone.log_in("alt_demo").json()["token"]
    seen = [
        keystone.ask(demo, "GET", f"{what}/{whose[what[:-1]]['id']}").status
        for whose in (token, other)
        for what in ("users", "projects")
    ]
    assert seen == [200, 200, 403, 403]


def test_a_user_of_a_new_project_works_there(keystone: Keystone, admin: str) -> None:
    project = keystone.ask(admin, "POST", "projects", {"project": {"name": "new"}}).json()
    made = {"user": {"name": "newcomer", "password": "own"}}
    user = keystone.ask(admin, "POST", "users", made).json()
    role = keystone.ask(admin, "GET", "roles?name=member").json()["roles"][0]
    scope = {"project": {"id": project["project"]["id"]}}
    assert keystone.log_in("newcomer", scope, "own").status == 401

    path = f"projects/{project['project']['id']}/users/{user['user']['id']}/roles/{role['id']}"
    assert keystone.ask(admin, "HEAD", path).status == 404
    assert keystone.ask(admin, "PUT", path).status == 204
    assert keystone.ask(admin, "HEAD", path).status == 204
    assert roles(keystone.log_in("newcomer", scope, "own")) == {"member"}
    assert keystone.log_in("newcomer", scope, "secret").status == 401

    assert keystone.ask(admin, "DELETE", path).status == 204
    assert keystone.log_in("newcomer", scope, "own").status == 401
    assert keystone.ask(admin, "DELETE", f"projects/{project['project']['id']}").status == 204


def test_two_projects_cannot_have_one_name(keystone: Keystone, admin: str) -> None:
    answer = keystone.ask(admin, "POST", "projects", {"project": {"name": "demo"}})
    assert answer.status == 409


@pytest.mark.parametrize("body", [None, [], {}, {"project": {}}, {"project": {"name": 7}}])
def test_a_project_that_is_none_is_refused(keystone: Keystone, admin: str, body: Any) -> None:
    answer = keystone.ask(admin, "POST", "projects", body)
    assert (answer.status, answer.json()["error"]["code"]) == (400, 400)
