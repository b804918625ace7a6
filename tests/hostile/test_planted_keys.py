"""A server says the key back wherever an answer has a place for it; nothing that Testcard writes or prints may hold it."""

from __future__ import annotations

import base64
import html
import itertools
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote, unquote_to_bytes

import pytest

from testkit.pictures import plain
from testkit.servers import read_request, talking

KEY = 'sk-pl4nted/"Key"+d0-not_show=9f8e7d6c5b4a'
_PICTURE = base64.b64encode(plain(1024, 1024)).decode()

SPELLINGS: dict[str, Callable[[str], str]] = {
    "plain": lambda key: key,
    "percent": lambda key: quote(key, safe=""),
    "percent-lower": lambda key: re.sub("%..", lambda found: found[0].lower(), quote(key, safe="")),
    "percent-twice": lambda key: quote(quote(key, safe=""), safe=""),
    "percent-all": lambda key: "".join(f"%{ord(letter):02X}" for letter in key),
    "entities": lambda key: html.escape(key),
    "entities-all": lambda key: "".join(f"&#{ord(letter)};" for letter in key),
    "entities-hex": lambda key: "".join(f"&#x{ord(letter):X};" for letter in key),
    "json": lambda key: json.dumps(key)[1:-1],
    "json-all": lambda key: "".join(f"\\u{ord(letter):04x}" for letter in key),
    "base64": lambda key: base64.b64encode(key.encode()).decode(),
    "base64-inside": lambda key: base64.b64encode(f"ab{key}tail".encode()).decode(),
    "base64-url": lambda key: base64.urlsafe_b64encode(f"a{key}".encode()).decode(),
    "basic": lambda key: "Basic " + base64.b64encode(f"user:{key}".encode()).decode(),
    "hex": lambda key: key.encode().hex(),
    "broken": lambda key: key[:11] + "\n  " + key[11:],
}


def shown(content: bytes) -> list[str]:
    """The spellings in which the key stands in these bytes, found by undoing every escape: other code than the redactor's."""
    found = []
    layers = [content]
    for _ in range(3):
        text = layers[-1].decode("utf-8", "replace")
        text = re.sub(r"\\+u([0-9a-fA-F]{4})", lambda one: chr(int(one[1], 16)), text)
        text = html.unescape(text)
        layers.append(unquote_to_bytes(text.replace("\\n", "\n").replace("\\", "")))
    for layer in layers:
        flat = re.sub(rb"\s+", b"", layer)
        if KEY.encode() in flat or KEY.replace("\\", "").encode() in flat:
            found.append("plain")
        if KEY.encode().hex().encode() in flat.lower():
            found.append("hex")
        standard = flat.translate(bytes.maketrans(b"-_", b"+/"))
        for run in re.findall(rb"[A-Za-z0-9+/]{24,}", standard):
            for start in range(4):
                piece = run[start:]
                if KEY.encode() in base64.b64decode(piece + b"A" * (-len(piece) % 4)):
                    found.append("base64")
    return sorted(set(found))


def test_the_search_finds_each_spelling() -> None:
    """The search would see a key that came through."""
    for name, spell in SPELLINGS.items():
        assert shown(f"see {spell(KEY)} here".encode()), name


def answers(said: str) -> list[bytes]:
    """Answers of every shape that repeat the key: in the status line, headers, redirects, errors, broken bodies and successes."""
    line = said.replace("\r", "").replace("\n", "")
    error = json.dumps({"error": {"message": f"no such key: {said}", "type": "x", "code": f"k-{said}"}}).encode()
    picture = json.dumps({"created": 1, "data": [{"b64_json": _PICTURE, "revised_prompt": f"with {said}"}], "note": said}).encode()

    def answer(body: bytes, status: str = "200 OK", kind: str = "application/json", extra: str = "") -> bytes:
        head = f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\nx-echo: {line}\r\n{extra}\r\n"
        return head.encode("latin-1") + body

    return [
        answer(picture),
        answer(error, "401 Unauthorized"),
        answer(error, "400 Bad Request", "application/problem+json"),
        answer(f"<html><body>500: {said}</body></html>".encode(), "500 Oops", "text/html"),
        answer(b"", f"503 {line}", "text/plain"),
        answer(b"", "302 Found", "text/plain", f"location: /{quote(line)}?k={line}\r\n"),
        answer(b"", "307 Found", "text/plain", f"location: ftp://{line}@h/\r\n"),
        answer(json.dumps({"data": [{"url": f"http://127.0.0.1:1/{line}.png?sig={line}"}]}).encode()),
        answer(json.dumps({"data": [{"b64_json": said}]}).encode()),
        f"HTTP/9.9 {line} what\r\n\r\n".encode("latin-1"),
        f"{line}\r\n\r\n".encode("latin-1"),
        f"HTTP/1.1 200 OK\r\n{line}\r\n\r\n".encode("latin-1"),
        f"HTTP/1.1 200 OK\r\ncontent-length: {line}\r\n\r\n".encode("latin-1"),
        f"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{line}\r\n".encode("latin-1"),
        answer(f"{'x' * 270} {said}".encode(), "404 Not Found", "text/plain"),
        answer(json.dumps({"detail": [{"loc": ["body", said], "msg": "y" * 100 + said * 3}]}).encode(), "422 No"),
    ]


def _run(arguments: list[str], where: Path) -> bytes:
    environment = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    environment |= {"TESTCARD_API_KEY": KEY, "COLUMNS": "160"}
    command = [sys.executable, "-m", "testcard.harness.cli", *arguments]
    done = subprocess.run(command, cwd=where, env=environment, capture_output=True, timeout=120, check=False)
    assert done.returncode != 4, done.stderr.decode()
    return done.stdout + done.stderr


def _written(where: Path) -> dict[str, bytes]:
    return {str(path.relative_to(where)): path.read_bytes() for path in where.rglob("*") if path.is_file()}


@pytest.mark.parametrize("command", ["generate", "check", "bench"])
def test_no_key_comes_through(command: str, tmp_path: Path) -> None:
    """A server whose every answer repeats the key, each time in another spelling and another place."""
    turns = itertools.cycle([answer for spell in SPELLINGS.values() for answer in answers(spell(KEY))])

    def talk(connection: object) -> None:
        rest = b""
        while (read := read_request(connection, rest)) is not None:  # type: ignore[arg-type]
            rest = read[2]
            said = next(turns)
            connection.sendall(said)  # type: ignore[attr-defined]
            if b"content-length: " not in said or not said.startswith(b"HTTP/1.1 "):
                return

    with talking(talk) as server:  # type: ignore[arg-type]
        if command == "generate":
            count = len(SPELLINGS) * len(answers(""))
            printed = b"".join(
                _run(["generate", "nanogpt", "a boat", "--base-url", server.url, "-o", f"{number}.png"], tmp_path)
                for number in range(0, count, 64)
            )
            printed += _in_process(server.url)
        elif command == "check":
            limits = ["--max-requests", "120", "--out", "run", "--seed", "1"]
            printed = _run(["check", "nanogpt", "--base-url", server.url, *limits], tmp_path)
        else:
            limits = ["--max-requests", "280", "--duration", "2", "--out", "run"]
            printed = _run(["bench", "--target", f"nanogpt={server.url}", *limits], tmp_path)
            printed += _run(["report", "run", "--out", "report"], tmp_path)
    assert printed
    assert not shown(printed), printed.decode("utf-8", "replace")[-3000:]
    for name, content in _written(tmp_path).items():
        assert not shown(content), name


def _in_process(url: str) -> bytes:
    """What errors of the client say, for every answer in turn."""
    from testcard.harness.client import Client
    from testcard.harness.errors import TestcardError

    told = []
    with Client("nanogpt", base_url=url, api_key=KEY) as client:
        for _ in range(len(SPELLINGS) * len(answers(""))):
            try:
                told.append(repr(client.generate("a boat")))
            except TestcardError as error:
                told.append(f"{error!r} {error} {error.hint}")
        told.append(repr(client))
    return "\n".join(told).encode()
