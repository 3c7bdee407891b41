"""What every request passes, and what every answer carries."""

import logging

import pytest
from fastapi.testclient import TestClient

from musclesense.serve import answers

from .conftest import Serve, ended, example

TOKEN = "0123456789abcdef"
PATHS = (
    "/",
    "/sign-in",
    "/static/app.css",
    "/static/upload.js",
    "/api/openapi.json",
    "/jobs/none",
    "/none",
    "/api/none",
)


@pytest.mark.parametrize("path", PATHS)
def test_every_answer_has_the_headers(path: str, serve: Serve) -> None:
    answer = serve().get(path)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cache-control"] == "no-store"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy and "unsafe" not in policy
    assert "server" not in answer.headers


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost", "localhost:1234", "[::1]:8000", "127.0.0.1"])
def test_own_addresses_are_answered(host: str, serve: Serve) -> None:
    assert serve().get("/", headers={"host": host}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "", "192.168.1.2"])
def test_other_names_are_not(host: str, serve: Serve) -> None:
    """A name that an attacker lets lead here."""
    assert serve().get("/", headers={"host": host}).status_code == 421


def test_a_page_for_others_has_its_names_and_addresses(serve: Serve) -> None:
    client = serve(host="0.0.0.0", names=("scans.example",), token=TOKEN)
    for host, status in (("scans.example", 200), ("10.0.0.5:8000", 200), ("evil.example", 421)):
        assert client.get("/sign-in", headers={"host": host}).status_code == status


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9000"},
    ],
)
def test_other_sites_change_nothing(headers: dict[str, str], serve: Serve) -> None:
    client = serve()
    name = example(client)
    ended(client, name)
    form = {"example": (None, "thigh")}
    assert client.post("/api/jobs", files=form, headers=headers).status_code == 403
    assert client.post("/jobs", files=form, headers=headers).status_code == 403
    assert client.post(f"/jobs/{name}/delete", headers=headers).status_code == 403
    assert client.delete(f"/api/jobs/{name}", headers=headers).status_code == 403
    assert client.get(f"/api/jobs/{name}").status_code == 200


@pytest.mark.parametrize("headers", [{}, {"sec-fetch-site": "same-origin"}, {"origin": "http://127.0.0.1:8000"}])
def test_this_page_and_programs_may(headers: dict[str, str], serve: Serve) -> None:
    assert serve().post("/api/jobs", files={"example": (None, "thigh")}, headers=headers).status_code == 202


# The token


@pytest.fixture
def closed(serve: Serve) -> TestClient:
    return serve(host="10.0.0.5", token=TOKEN)


def test_without_the_token_nothing_is_seen(closed: TestClient) -> None:
    assert closed.get("/").headers["location"] == "/sign-in"
    for path in ("/api/openapi.json", "/api/jobs/" + "0" * 32):
        assert closed.get(path).status_code == 401
    for headers in ({"authorization": "Bearer wrong"}, {"authorization": TOKEN}, {"cookie": f"musclesense={TOKEN}"}):
        assert closed.post("/api/jobs", files={"example": (None, "thigh")}, headers=headers).status_code == 401


def test_programs_send_the_token(closed: TestClient) -> None:
    sent = {"authorization": f"Bearer {TOKEN}"}
    assert closed.post("/api/jobs", files={"example": (None, "thigh")}, headers=sent).status_code == 202


def test_a_browser_signs_in_once(closed: TestClient) -> None:
    for wrong in ("", "wrong", TOKEN + "x", "ä", "x" * 4000):
        assert closed.post("/sign-in", data={"token": wrong}).status_code == 401
    assert closed.post("/sign-in", data={"token": "x" * 9000}).status_code == 413
    answer = closed.post("/sign-in", data={"token": f" {TOKEN} "})
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=strict" in cookie and TOKEN not in cookie
    assert closed.get("/").status_code == 200


def test_behind_a_proxy_with_tls_the_cookie_is_for_tls_alone(closed: TestClient) -> None:
    answer = closed.post("/sign-in", data={"token": TOKEN}, headers={"x-forwarded-proto": "https"})
    assert "Secure" in answer.headers["set-cookie"]


# What is told of errors


def test_an_error_that_nobody_foresaw_tells_nothing_of_a_scan(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("Meyer, Anna")

    client = serve()
    name = example(client)
    ended(client, name)
    monkeypatch.setattr(answers, "_read", broken)
    with caplog.at_level(logging.INFO):
        answer = client.get(f"/api/jobs/{name}")
    assert answer.status_code == 500 and "nosniff" in answer.headers.values()
    said = "\n".join(
        record.getMessage() for record in caplog.records if record.name.startswith(("musclesense", "uvicorn"))
    )
    assert "RuntimeError in test_safety.py" in said and "the fault is the program's" in answer.json()["detail"]
    assert "Meyer" not in answer.text + said and name not in said
