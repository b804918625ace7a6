"""A mock of one's own tests is there at once and can be asked and told; a recorded run answers again as it was answered."""

from __future__ import annotations

import json
import ssl
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import pytest

from testcard.mocks.running import running_mock
from testcard.specs.errors import UsageError

BODY = {"prompt": "a red boat", "size": "256x256"}
BASE = "https://api.example.com/v9"
PICTURE = "https://files.example.com/a.png?x=1&y=2"


def post(url: str, body: Any = BODY, key: str = "testcard", **more: Any) -> httpx.Response:
    headers = {"Authorization": f"Bearer {key}"}
    return httpx.post(f"{url}/v1/images/generations", json=body, headers=headers, trust_env=False, **more)


def test_a_mock_writes_nothing_about_its_clients() -> None:
    """A client that gave up and a form that is none are what tests are made of: nothing of them lands in a terminal."""
    code = f"""
import contextlib, httpx
from testcard.mocks.running import running_mock
key = {{"Authorization": "Bearer testcard"}}
with running_mock("nebul") as mock:
    broken = {{**key, "Content-Type": "multipart/form-data; boundary=x"}}
    assert httpx.post(mock.base_url + "/v1/images/edits", content=b"no form", headers=broken).status_code == 400
    mock.configure(latency="30")
    with contextlib.suppress(httpx.TimeoutException):
        httpx.post(mock.base_url + "/v1/images/generations", json={BODY!r}, headers=key, timeout=0.2)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_mock_tells_of_a_request_that_is_no_http_in_a_line() -> None:
    """A body that breaks off into nonsense is refused with 400, and the mock's own answer, which comes too late, is no mistake to be traced."""
    code = """
import socket
from testcard.mocks.running import running_mock
with running_mock("nebul") as mock:
    host, port = mock.base_url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), 10) as one:
        one.sendall(b"POST / HTTP/1.1\\r\\nHost: x\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\nzz\\r\\n")
        assert one.recv(100).startswith(b"HTTP/1.1 400")
        while one.recv(1000):
            pass
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.splitlines() == ["WARNING:  Invalid HTTP request received."]


def test_a_running_mock_is_asked_and_told() -> None:
    """Its requests and counts can be read, its conditions changed and put back; nonsense is refused as where it was said."""
    with running_mock("nanogpt", quota=3) as mock:
        assert post(mock.base_url).status_code == 200
        mock.configure(refuse=["503"])
        assert post(mock.base_url).status_code == 503
        assert [one["status"] for one in mock.requests()] == [200, 503]
        assert mock.requests(limit=1, status=200)[0]["fields"]["prompt"] == BODY["prompt"]
        assert len(mock.requests(method="post")) == 2
        for wrong in ({"operaton": "createImage"}, {"limit": "x"}, {"limit": 0}, {"limit": "9" * 5000}):
            with pytest.raises(UsageError):
                mock.requests(**wrong)
        assert mock.counters()["billed_requests"] == 1
        mock.play({"phase": [{"requests": 1, "name": "off", "refuse": ["500"]}, {}]})
        assert [post(mock.base_url).status_code for _ in range(2)] == [500, 200]
        mock.reset()
        assert mock.requests() == []
        with pytest.raises(UsageError, match="unknown field") as caught:
            mock.configure(speed=2)
        assert "latency" in str(caught.value.hint)
    with pytest.raises(UsageError), running_mock():
        pass


def test_a_reset_mock_is_as_it_began() -> None:
    """A quota and a balance that were used up are whole again, and what is told of the balance is what it was."""
    with running_mock("nanogpt", quota=1) as mock:
        assert [post(mock.base_url).status_code for _ in range(2)] == [200, 402]
        mock.reset()
        assert [post(mock.base_url).status_code for _ in range(2)] == [200, 402]
    with running_mock("nanogpt") as mock:
        untouched = post(mock.base_url).json()["remainingBalance"]
        mock.configure(balance_usd=1.0)
        assert post(mock.base_url).json()["remainingBalance"] < 1
        mock.reset()
        assert post(mock.base_url).json()["remainingBalance"] == untouched


def test_what_was_asked_before_a_reset_is_no_part_of_what_comes_after() -> None:
    """A request that its client gave up, and whose answer is ready after the reset, is neither in the log nor counted."""
    with running_mock("nanogpt", latency=0.3) as mock:
        with pytest.raises(httpx.ReadTimeout):
            post(mock.base_url, timeout=0.1)
        assert mock.counters()["open"] == 1
        mock.reset()
        assert post(mock.base_url).status_code == 200
        assert mock.counters()["open"] == 0
        assert [len(mock.requests()), mock.counters()["requests"]] == [1, 1]


def test_a_mock_begins_with_a_scenario() -> None:
    """Of a file, or as a mapping."""
    with running_mock("nanogpt", scenario={"phase": [{"requests": 1, "refuse": "503"}, {}]}) as mock:
        assert [post(mock.base_url).status_code for _ in range(2)] == [503, 200]


def test_a_scenario_that_is_put_says_what_differs_from_the_start() -> None:
    """What the mock was started with holds in every phase that says nothing of it, as with a file."""
    with running_mock("nanogpt", refuse=["503"]) as mock:
        mock.play({"phase": [{"requests": 1, "name": "down"}, {"name": "up", "refuse": []}]})
        assert [post(mock.base_url).status_code for _ in range(2)] == [503, 200]


@pytest.mark.skipif(find_spec("trustme") is None, reason="trustme is not here: pip install 'testcard[tls]'")
def test_a_throwaway_certificate_is_good_where_its_authority_is_trusted() -> None:
    """HTTPS with the authority's file; without it the certificate is refused. The file goes with the mock."""
    with running_mock("nanogpt", tls=True) as mock:
        assert mock.base_url.startswith("https://")
        assert mock.ca_file is not None
        context = ssl.create_default_context(cafile=mock.ca_file)
        assert post(mock.base_url, verify=context).status_code == 200
        assert mock.counters()["requests"] == 1
        with pytest.raises(httpx.ConnectError):
            post(mock.base_url)
    assert not mock.ca_file.exists()


def recorded(folder: Path) -> Path:
    """A run of four exchanges: one that was carried out twice alike, one without a key, one broken off, and a picture from elsewhere."""

    def exchange(
        number: int, sent: Any, status: int | None, said: Any, *, key: str | None = "Bearer $TESTCARD_API_KEY", **more: Any
    ) -> str:
        headers = [["content-type", "application/json"], *([["authorization", key]] if key else [])]
        request = {
            "method": "POST",
            "url": f"{BASE}/v1/images/generations",
            "headers": headers,
            "body": {"size": 1, "text": json.dumps(sent)},
        }
        response = None
        if status is not None:
            text = json.dumps(said)
            response = {"status": status, "headers": [["content-type", "application/json"], ["content-encoding", "gzip"]]}
            response["body"] = {"size": len(text), "text": text}
        return json.dumps({"id": f"e{number}", "source": "probe", "request": request, "response": response, **more})

    folder.mkdir()
    target = {"provider": "someone", "base_url": BASE}
    (folder / "run.json").write_text(json.dumps({"targets": [target], "files": {"exchanges": "exchanges.jsonl"}}))
    fetch = {"id": "e1.f1", "source": "fetch", "request": {"method": "GET", "url": PICTURE}}
    fetch["response"] = {"status": 200, "headers": [["content-type", "image/png"]], "body": {"size": 3, "base64": "AAEC"}}
    lines = [
        exchange(1, {"prompt": "x", "n": 1}, 200, {"data": [{"url": PICTURE}], "next": f"{BASE}/v1/tasks/1"}),
        exchange(2, {"prompt": "x", "n": 1}, 200, {"data": [], "second": True}),
        exchange(3, {"prompt": "x", "n": 1}, 401, {"error": "no key"}, key=None),
        exchange(4, {"prompt": "gone"}, None, None),
        json.dumps(fetch),
    ]
    (folder / "exchanges.jsonl").write_text("\n".join(lines) + '\n{"id": "cut o')
    return folder


def test_a_recorded_run_answers_again(tmp_path: Path) -> None:
    """Equal requests get the recorded answers in their order, any key will do, addresses lead here, and others get the nearest answer."""
    with running_mock(replay=recorded(tmp_path / "run")) as mock:
        first = post(mock.base_url, {"n": 1, "prompt": "x"}, key="mine")
        assert first.headers["x-testcard-replay"] == "exact e1"
        url = first.json()["data"][0]["url"]
        assert url.startswith(mock.base_url)
        assert first.json()["next"] == f"{mock.base_url}/v1/tasks/1"
        picture = httpx.get(url, trust_env=False)
        assert (picture.content, picture.headers["content-type"]) == (b"\x00\x01\x02", "image/png")
        assert [post(mock.base_url, {"prompt": "x", "n": 1}).json().get("second") for _ in range(2)] == [True, True]
        keyless = httpx.post(f"{mock.base_url}/v1/images/generations", json={"prompt": "x", "n": 1}, trust_env=False)
        assert (keyless.status_code, keyless.json()) == (401, {"error": "no key"})
        near = post(mock.base_url, {"prompt": "something else", "n": 1})
        assert (near.status_code, near.headers["x-testcard-replay"].split()[0]) == (200, "nearest")
        with pytest.raises(httpx.RemoteProtocolError):
            post(mock.base_url, {"prompt": "gone"})
        assert httpx.get(f"{mock.base_url}/v1/other", trust_env=False).status_code == 404


def test_a_replay_says_what_it_was_asked_and_begins_again(tmp_path: Path) -> None:
    """Its log and counts are read as another mock's are; a reset empties them and answers from the beginning; it has no conditions."""
    with running_mock(replay=recorded(tmp_path / "run")) as mock:
        asked = {"n": 1, "prompt": "x"}
        assert [post(mock.base_url, asked).json().get("second") for _ in range(2)] == [None, True]
        post(mock.base_url, {"prompt": "something else", "n": 1}, key="sk-other")
        entries = mock.requests(status=200)
        assert [one["fields"] for one in entries] == [asked, asked, {"prompt": "something else", "n": 1}]
        assert "sk-other" not in str(entries)
        assert mock.counters()["requests"] == 3
        mock.reset()
        assert (mock.requests(), mock.counters()["requests"]) == ([], 0)
        assert post(mock.base_url, asked).json().get("second") is None
        with pytest.raises(UsageError, match="has no conditions"):
            mock.configure(latency="1")


def test_a_replay_takes_pages_in_and_nothing_that_it_could_not_keep(tmp_path: Path) -> None:
    """CORS goes with a run; conditions, scenarios and variants are refused rather than left unheard."""
    folder = recorded(tmp_path / "run")
    with running_mock(replay=folder, cors=True) as mock:
        with pytest.raises(UsageError, match="operaton"):
            mock.requests(operaton="createImage")
        answer = httpx.get(f"{mock.base_url}/v1/other", headers={"origin": "https://page.example"}, trust_env=False)
        assert answer.headers["access-control-allow-origin"] == "*"
    unheard: tuple[dict[str, Any], ...] = ({"latency": "1"}, {"scenario": tmp_path / "story.toml"}, {"variant": "strict"})
    for options in unheard:
        with pytest.raises(UsageError, match="nothing else"), running_mock(replay=folder, **options):
            pass


@pytest.mark.parametrize(("name", "text"), [("run.json", "[]"), ("exchanges.jsonl", ""), ("exchanges.jsonl", '{"id": 1}\n{}\n')])
def test_a_folder_that_cannot_be_replayed_says_why(tmp_path: Path, name: str, text: str) -> None:
    """What is wrong with it, and what would be right."""
    folder = recorded(tmp_path / "run")
    (folder / name).write_text(text)
    with pytest.raises(UsageError) as caught, running_mock(replay=folder):
        pass
    assert str(tmp_path) in str(caught.value)
    assert caught.value.hint
