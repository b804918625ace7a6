"""Attacks by where an answer leads: addresses, redirects, downloads, tasks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hostile.kit.framing import dripped_body, endless_body
from hostile.kit.heads import dripped_headers, interim_flood, silent
from hostile.kit.talk import ATTACKS, Attack, Talk, attack, b64, good, png

# Addresses.


def leads(name: str, url: str, count: int = 1) -> None:
    def answer(talk: Talk) -> None:
        if "/got" in talk.path or "/loop" in talk.path:
            if "/loop" in talk.path:
                talk.json({}, f"Location: {talk.base}/loop{talk.count}", status="302 Found")
            else:
                talk.reply(png(256, 256), kind="image/png")
            return
        urls = [url.replace("BASE", talk.base).replace("NUMBER", str(number)) for number in range(count)]
        talk.json(good(data=[{"url": one} for one in urls]))

    attack(name=name)(answer)


leads("url-to-metadata", "http://169.254.169.254/latest/meta-data/")
leads("url-to-file", "file:///etc/passwd")
leads("url-to-gopher", "gopher://127.0.0.1:25/x")
leads("url-to-other-port", "http://127.0.0.1:9/secret")
leads("url-decimal-host", "http://2130706433:9/")
leads("url-zero-host", "http://0.0.0.0:9/")
leads("url-v6-loopback", "http://[::1]:9/")
leads("url-v6-mapped", "http://[::ffff:169.254.169.254]/")
leads("url-with-user", "http://user:pass@127.0.0.1:9/")
leads("url-port-huge", "http://127.0.0.1:99999999/")
leads("url-bracket", "http://[::1/x")
leads("url-million", "BASE/got?" + "x" * 1_000_000)
leads("url-controls", "BASE/got\r\nX-Injected: 1\x00")
leads("url-spaces", "BASE/got a b\t")
leads("urls-15000", "BASE/gotNUMBER", 15_000)
leads("urls-in-circles", "BASE/loop")


def redirects(name: str, where: str) -> None:
    def answer(talk: Talk) -> None:
        talk.json({}, "Location: " + where.replace("BASE", talk.base).replace("NUMBER", str(talk.count)), status="307 Temporary Redirect")

    attack(name=name)(answer)


redirects("redirect-circle", "BASE/again")
redirects("redirect-file", "file:///etc/passwd")
redirects("redirect-metadata", "http://169.254.169.254/")
redirects("redirect-origin", "http://127.0.0.1:9/")
redirects("redirect-controls", "BASE/\x1b[31m\x9b")
redirects("redirect-million", "BASE/" + "x" * 60_000)


def download(name: str) -> Callable[[Attack], Attack]:
    """An attack on the way to a picture: the answer is sound and names an address, which is answered by the attack."""

    def enter(function: Attack) -> Attack:
        def answer(talk: Talk) -> None:
            if "/picture" in talk.path:
                function(talk)
            else:
                talk.json(good(data=[{"url": talk.base + "/picture.png"}]))

        attack(name=f"download-{name}")(answer)
        return function

    return enter


download("silent")(silent)
download("dripped-headers")(dripped_headers)
download("dripped")(dripped_body)
download("endless")(endless_body)
download("gzip-bomb")(lambda talk: ATTACKS["gzip-bomb"][1](talk))
download("redirect-file")(lambda talk: talk.json({}, "Location: file:///etc/passwd", status="302 Found"))
download("redirect-metadata")(lambda talk: talk.json({}, "Location: http://169.254.169.254/", status="302 Found"))
download("redirect-circle")(lambda talk: talk.json({}, f"Location: {talk.base}/picture{talk.count}", status="302 Found"))
download("interim-flood")(interim_flood)
download("bomb")(lambda talk: talk.reply(png(9380, 9380, depth=1, colour=0), kind="image/png"))


# Tasks.


def task(name: str, accepted: Any = None, head: tuple[str, ...] = ()) -> Callable[[Attack], Attack]:
    """An attack on the way of a task: accepted, and then polled."""

    def enter(function: Attack) -> Attack:
        def answer(talk: Talk) -> None:
            if talk.method == "GET":
                function(talk)
            else:
                talk.json(
                    accepted if accepted is not None else {"task_address": f"t{talk.count}", "message": "ok"}, *head, status="202 Accepted"
                )

        attack("opengpu-relay", name=f"task-{name}")(answer)
        return function

    return enter


task("silent")(silent)
task("dripped-headers")(dripped_headers)
task("for-ever")(lambda talk: talk.json({"status": "processing"}))
task("queued-retry-huge")(lambda talk: talk.json({"status": "queued"}, "Retry-After: 99999999"))
task("retry-year", head=("Retry-After: Fri, 31 Dec 99999999999 23:59:59 GMT",))(lambda talk: talk.json({"status": "queued"}))
task("not-found")(lambda talk: talk.json({"message": "no"}, status="404 Not Found"))
task("limited")(lambda talk: talk.json({"message": "no"}, status="429 Too Many"))
task("unavailable")(lambda talk: talk.json({"message": "no"}, status="503 Busy"))
task("unknown-word")(lambda talk: talk.json({"status": f"state {talk.count}"}))
task("deep")(lambda talk: talk.reply(b'{"status":' + b"[" * 900 + b"]" * 900 + b"}"))
task("endless")(endless_body)
task("redirect-circle")(lambda talk: talk.json({}, f"Location: {talk.base}/v2/{talk.count}", status="302 Found"))
task("dots", {"task_address": "../../admin", "message": "ok"})(lambda talk: talk.json({"status": "processing"}))
task("newline", {"task_address": "a\r\nX-Injected: 1\r\n\r\nGET /admin", "message": "ok"})(lambda talk: talk.json({"status": "processing"}))
task("long", {"task_address": "x" * 1_000_000, "message": "ok"})(lambda talk: talk.json({"status": "processing"}))
task("slashes", {"task_address": "/..//http://127.0.0.1:9/", "message": "ok"})(lambda talk: talk.json({"status": "processing"}))
task("result-deep")(lambda talk: talk.reply(b'{"status": "completed", "result": ' + b"[" * 900 + b"]" * 900 + b"}"))
task("result-20000")(lambda talk: talk.json({"status": "completed", "result": {"images": [b64(png(16, 16))] * 20_000}}))
task("error-huge")(lambda talk: talk.json({"status": "failed", "error": {"message": "\x1b[31m" + "x" * 5_000_000}}))
