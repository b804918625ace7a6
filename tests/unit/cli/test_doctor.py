"""`testcard doctor` says of a server's clock, its certificate and the limits what keeps a check from being whole, and what to do."""

from __future__ import annotations

import json
import socket
import ssl
from email.utils import formatdate
from importlib.util import find_spec
from pathlib import Path
from time import time
from typing import Any

import pytest

from testkit.command_line import typed
from testkit.servers import Response, answering, talking


def found(folder: Path, url: str, rest: str = "") -> tuple[int, list[dict[str, Any]]]:
    """The exit code and what was found of the target."""
    (folder / "testcard.toml").write_text(f'[[target]]\nprovider = "nanogpt"\nbase_url = "{url}"\n{rest}')
    done = typed(["doctor", "--json"], cwd=folder)
    return done.returncode, [one for one in json.loads(done.stdout) if one["what"].startswith("nanogpt")]


@pytest.mark.parametrize(("ahead_s", "said"), [(0.0, None), (-3600.0, "apart"), (7200.0, "apart")])
def test_a_clock_that_is_off_is_noted(tmp_path: Path, ahead_s: float, said: str | None) -> None:
    """By the server's own Date header, whole seconds allowed for; it keeps nothing from working."""
    with answering(lambda request: Response("", headers={"date": formatdate(time() + ahead_s, usegmt=True)})) as server:
        code, rows = found(tmp_path, server.url)
    notes = [row["what"] for row in rows if "clock" in row["what"]]
    assert code == 0
    assert [said in note for note in notes if said is not None] == ([True] if said else [])
    assert len(notes) == (said is not None)


def test_the_limits_are_held_against_a_whole_check(tmp_path: Path) -> None:
    """Short ones are a note that names the key, enough is well."""
    with answering(lambda request: Response("")) as server:
        _, rows = found(tmp_path, server.url, "[check]\nmax_requests = 20\n")
        (short,) = [row for row in rows if "a whole check is" in row["what"]]
        _, rows = found(tmp_path, server.url, "[check]\nmax_requests = 500\n")
        (enough,) = [row for row in rows if "a whole check is" in row["what"]]
    assert short["state"] == "note"
    assert "max_requests below [check] allows less" in short["what"]
    assert enough["state"] == "ok"
    assert "the limits allow it" in enough["what"]


@pytest.mark.skipif(find_spec("trustme") is None, reason="trustme is not here: pip install 'testcard[tls]'")
def test_a_certificate_of_one_s_own_authority_is_named_with_the_way_to_trust_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not trusted: a problem that names SSL_CERT_FILE; with it, well."""
    import threading

    import trustme

    from testcard.harness.cli.doctor import _certificate
    from testcard.harness.client import http

    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for _ in range(2):
                connection, _ = listener.accept()
                with connection:
                    try:
                        context.wrap_socket(connection, server_side=True).close()
                    except (ssl.SSLError, OSError):
                        continue

        threading.Thread(target=serve, daemon=True).start()
        url = f"https://127.0.0.1:{listener.getsockname()[1]}"
        http.tls.cache_clear()
        strange = _certificate(url)
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        http.tls.cache_clear()
        trusted = _certificate(url)
        http.tls.cache_clear()
    assert strange is not None
    assert strange.state == "problem"
    assert "is not trusted" in strange.what
    assert "SSL_CERT_FILE" in strange.next
    assert trusted is not None
    assert trusted.state == "ok"


def test_http_where_https_is_said_is_named(tmp_path: Path) -> None:
    """Rather than as a server that is not there."""

    def refuse(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")

    with talking(refuse) as server:
        code, rows = found(tmp_path, server.url.replace("http:", "https:"))
    assert code == 2
    assert any("no TLS with 127.0.0.1" in row["what"] for row in rows)


def test_names_that_nothing_stands_behind_are_noted_with_their_line(tmp_path: Path) -> None:
    """A waiver or a price of a misspelt name would silently never hold; those of names that there are say nothing."""
    rest = "reason = 'x'\nowner = 'y'\nexpires = 2090-01-01\n"
    (tmp_path / "testcard.toml").write_text(
        f"[prices.nanogppt]\nadopt = 'list'\n[prices.nebul]\nadopt = 'list'\n"
        f"[[waiver]]\nrule = 'image.sise'\nprovider = 'nanogptt'\n{rest}[[waiver]]\nrule = 'image.*'\nprovider = 'nebul'\n{rest}"
    )
    rows = [one for one in json.loads(typed(["doctor", "--json"], cwd=tmp_path).stdout) if one["what"].startswith("testcard.toml:")]
    assert [(one["state"], one["what"]) for one in rows] == [
        ("note", "testcard.toml:1: prices.nanogppt: there is no provider nanogppt"),
        ("note", "testcard.toml:7: waiver.0.provider: there is no provider nanogptt"),
        ("note", "testcard.toml:6: waiver.0.rule: there is no rule image.sise"),
    ]
    assert all("did you mean" in one["next"] for one in rows)


def test_a_workload_that_there_is_not_is_told_with_its_line(tmp_path: Path) -> None:
    """As every other wrong value of the file is."""
    (tmp_path / "testcard.toml").write_text("[bench]\nworkload = 'quik'\n")
    done = typed(["bench", "nanogpt", "--plan"], cwd=tmp_path)
    assert done.returncode == 2
    assert "testcard.toml:2: bench.workload: there is no workload quik; did you mean quick?" in done.stderr
