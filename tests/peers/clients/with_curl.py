"""curl: the line that `testcard mock` prints, a form with files, a stream, a download."""

from __future__ import annotations

import base64
import json
import subprocess
import tempfile
from pathlib import Path

from reporting import case, check, errors, is_picture, png, urls

URLS = urls()
BEARER = "Authorization: Bearer testcard"


def curl(*arguments: str) -> bytes:
    """What curl wrote."""
    return subprocess.run(["curl", "-sS", "--fail-with-body", "--max-time", "20", *arguments], capture_output=True, check=True).stdout


def sent(where: str, path: str, body: dict[str, object], key: str = BEARER) -> bytes:
    """The answer to JSON."""
    return curl(URLS[where] + path, "-H", key, "-H", "Content-Type: application/json", "-d", json.dumps(body))


def edited() -> None:
    """A form with a file."""
    with tempfile.TemporaryDirectory() as place:
        file = Path(place, "picture.png")
        file.write_bytes(png())
        fields = [
            "-F",
            f"image=@{file};type=image/png",
            "-F",
            "prompt=x",
            "-F",
            "size=64x64",
            "-F",
            "model=black-forest-labs/FLUX.1-Kontext-dev",
        ]
        answer = json.loads(curl(URLS["nebul"] + "/v1/images/edits", "-H", BEARER, *fields))
        is_picture(base64.b64decode(answer["data"][0]["b64_json"]), 64, 64)


def downloaded() -> None:
    """A picture by its address."""
    answer = json.loads(sent("opengpu-relay", "/v2/image/qwen/generate", {"prompt": "x", "size": "64x64"}, "X-API-Key: testcard"))
    is_picture(curl(answer["urls"][0]), 64, 64)


def streamed() -> None:
    """Events up to the last."""
    body = {"model": "meta/llama-3.2-90b-vision-instruct", "messages": [{"role": "user", "content": "hello"}], "stream": True}
    check(sent("nvidia-nim-vision", "/v1/chat/completions", body).rstrip().endswith(b"data: [DONE]"), "no end")


case(
    "nanogpt",
    "POST, JSON",
    lambda: check(len(json.loads(sent("nanogpt", "/v1/images/generations", {"prompt": "x", "n": 2}))["data"]) == 2, "n"),
)
case("nebul", "POST, form", edited)
case("opengpu-relay", "GET, picture", downloaded)
case("nvidia-nim-vision", "POST, stream", streamed)
case("nvidia-nim-image", "POST, JSON", lambda: sent("nvidia-nim-image", "/v1/genai/black-forest-labs/flux.1-schnell", {"prompt": "x"}))


class Ended(Exception):
    """How curl ended: its exit code, the status, and the body as its words."""

    def __init__(self, code: int, status: int, body: str) -> None:
        super().__init__(body)
        self.shown, self.status = f"exit {code}", status


def refused(where: str) -> None:
    """A request whose refusal is curl's exit code."""
    url = URLS[where] + "/v1/images/generations"
    options = ["--fail-with-body", "-sS", "--max-time", "20", "-w", "\n%{http_code}", "-H", BEARER, "-H", "Content-Type: application/json"]
    done = subprocess.run(["curl", *options, "-d", '{"prompt": "x"}', url], capture_output=True, text=True, check=False)
    body, _, status = done.stdout.rpartition("\n")
    if done.returncode:
        raise Ended(done.returncode, int(status), body)


errors("nanogpt", "POST, JSON", refused)
