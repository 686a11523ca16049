"""The server: nothing without the token or under another host's name, a policy on every answer, errors that name their cause."""

import json
import socket

import pytest
from starlette.testclient import TestClient

from curate.cli import main
from curate.view.explore.server import UPLOAD, application


@pytest.fixture(scope="module")
def client(explorer):
    client = TestClient(application(explorer, "secret"), base_url="http://127.0.0.1")
    assert client.get("/?token=secret", follow_redirects=False).headers["location"] == "/"
    return client


def ask(client, name, **asked):
    return client.get(f"/api/{name}", params={"q": json.dumps(asked)})


@pytest.mark.parametrize(
    "path", ["/", "/explore.js", "/api/about", "/api/rows", f"/image/small/{'0' * 32}", "/?token=wrong", "/nothing"]
)
def test_nothing_without_the_token(explorer, path):
    stranger = TestClient(application(explorer, "secret"), base_url="http://127.0.0.1")
    assert stranger.get(path).status_code == 403
    stranger.cookies.set("curate-80", "guess")
    assert stranger.get(path).status_code == 403


def test_the_token_becomes_a_cookie_that_no_script_and_no_other_site_has(explorer):
    client = TestClient(application(explorer, "secret"), base_url="http://127.0.0.1")
    cookie = client.get("/?token=secret", follow_redirects=False).headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=strict" in cookie


def test_another_host_s_name_is_refused(client):
    assert client.get("/api/about", headers={"host": "evil.example"}).status_code == 400


@pytest.mark.parametrize("path", ["/", "/explore.css", "/api/about", "/api/rows?q=[", "/nothing", f"/image/small/{'0' * 32}"])
def test_every_answer_has_the_policy(client, path):
    headers = client.get(path).headers
    assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self';")
    assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "no-referrer"


def test_pictures_are_jpegs_of_two_sizes(client):
    row = next(r for r in ask(client, "rows").json()["rows"] if r["image"])
    answer = client.get(f"/image/small/{row['values']['uid']}")
    assert answer.headers["content-type"] == "image/jpeg" and "private" in answer.headers["cache-control"]
    assert client.get(f"/image/huge/{row['values']['uid']}").status_code == 404


def test_wrong_questions_are_answered_with_what_is_wrong(client):
    wrong = ask(client, "rows", sort="nothing")
    assert wrong.status_code == 400 and wrong.json() == {"error": "no column nothing"}
    assert client.get("/api/rows?q=7").status_code == 400
    assert client.post("/api/image", content=b"no image").status_code == 400
    assert client.post("/api/image", content=b"0" * (UPLOAD + 1)).status_code == 413


def test_nothing_can_be_written(client):
    for method in ("post", "put", "delete", "patch"):
        assert getattr(client, method)("/api/rows").status_code == 405


def test_a_port_that_is_taken_and_a_folder_without_a_run(explorer, tmp_path, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["explore", explorer.run.store.url, "--port", str(port)]) == 2
    assert f"port {port}: Address already in use" in capsys.readouterr().err
    assert main(["explore", str(tmp_path)]) == 1 and "this is not a run's folder" in capsys.readouterr().err
