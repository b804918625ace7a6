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
        urls = [
            url.replace("BASE", talk.base).replace("ELSEWHERE", talk.elsewhere).replace("NUMBER", str(number)) for number in range(count)
        ]
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
        talk.json(
            {},
            "Location: " + where.replace("BASE", talk.base).replace("ELSEWHERE", talk.elsewhere).replace("NUMBER", str(talk.count)),
            status="307 Temporary Redirect",
        )

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


# Further spellings of addresses that lead where nobody allowed to go.

leads("url-other-origin", "ELSEWHERE/picture.png")
leads("url-octal-host", "http://0177.0.0.1:9/")
leads("url-hex-host", "http://0x7f.1:9/")
leads("url-short-host", "http://127.1:9/")
leads("url-letters-in-circles", "http://\u2460\u2461\u2466.0.0.1:9/")
leads("url-full-width", "http://\uff11\uff12\uff17.0.0.1:9/")
leads("url-localhost-dot", "http://localhost.:9/")
leads("url-upper-case", "HTTP://LOCALHOST:9/")
leads("url-v6-zone", "http://[fe80::1%25lo]:9/")
leads("url-v6-nat64", "http://[64:ff9b::7f00:1]:9/")
leads("url-v6-any", "http://[::]:9/")
leads("url-link-local", "http://169.254.1.1/")
leads("url-private", "http://10.0.0.1/x")
leads("url-broadcast", "http://255.255.255.255/")
leads("url-multicast", "http://224.0.0.1/")
leads("url-backslash", "http://127.0.0.1:9\\@127.0.0.1/")
leads("url-javascript", "javascript:alert(1)")
leads("url-ftp", "ftp://127.0.0.1:21/x")
leads("url-ldap", "ldap://127.0.0.1/x")
leads("url-relative", "picture.png")
leads("url-no-scheme", "//127.0.0.1:9/x")
leads("url-empty", "")
leads("url-spaces-only", "   \n\t ")
leads("url-port-0", "http://127.0.0.1:0/")
leads("url-port-negative", "http://127.0.0.1:-1/")
leads("url-port-word", "http://127.0.0.1:http/")
leads("url-host-long", "http://" + "a" * 5000 + "/x")
leads("url-host-labels", "http://" + "a." * 5000 + "b/x")
leads("url-idn", "http://xn--" + "9" * 60 + "/x")
leads("url-emoji-host", "http://\U0001f4a9.la/x")
leads("url-bidi", "BASE/got\u202egnp.exe")
leads("url-percent", "BASE/got%0d%0aX-Injected:%201")
leads("url-dots", "BASE/../../../got")
leads("url-data-picture", "data:image/png;base64," + b64(png(256, 256)))
leads("url-data-html", "data:text/html,<script>alert(1)</script>")
leads("url-data-long-head", "data:" + "x" * 1_000_000 + ";base64,AA==")
leads("urls-same-15000", "BASE/got", 15_000)
leads("urls-65", "BASE/gotNUMBER", 65)

for status in (301, 302, 303, 307, 308):

    def _elsewhere(talk: Talk, status: int = status) -> None:
        talk.json({}, f"Location: {talk.elsewhere}/v1/images/generations", "Set-Cookie: s=1", status=f"{status} Moved")

    attack(name=f"redirect-{status}-origin")(_elsewhere)

redirects("redirect-user", "http://user:pass@127.0.0.1:9/")
redirects("redirect-relative", "../../../admin")
redirects("redirect-empty", "")
redirects("redirect-data", "data:image/png;base64,AA==")
redirects("redirect-https", "https://127.0.0.1:9/")
redirects("redirect-not-latin", "BASE/\xff\xfe")


@attack()
def redirect_many_locations(talk: Talk) -> None:
    talk.json({}, f"Location: {talk.base}/a", f"Location: {talk.elsewhere}/b", status="302 Found")


@attack()
def redirect_with_bomb(talk: Talk) -> None:
    talk.begin(f"Location: {talk.base}/again", status="302 Found")
    while True:
        talk.send(b"x" * 65536)


download("origin")(lambda talk: talk.json({}, f"Location: {talk.elsewhere}/p.png", "Set-Cookie: s=1", status="302 Found"))
download("cookie")(
    lambda talk: (
        talk.reply(png(256, 256), "Set-Cookie: s=1", kind="image/png")
        if "redirected" in talk.path
        else talk.json({}, f"Location: {talk.base}/picture-redirected", "Set-Cookie: s=1", status="302 Found")
    )
)
download("length-2-40")(lambda talk: talk.reply(png(256, 256), kind="image/png", length=2**40))
download("html")(lambda talk: talk.reply(b"<html>no</html>" * 10_000, kind="text/html"))
download("eps")(lambda talk: talk.reply(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n%%EOF\n", kind="image/png"))
download("status-500")(lambda talk: talk.reply(b"x" * 5_000_000, status="500 Oops"))
download("limited")(lambda talk: talk.json({}, "Retry-After: 99999", status="429 Too Many"))
download("other-length")(lambda talk: talk.reply(png(256, 256)[:-20], kind="image/png", length=len(png(256, 256))))
download("empty")(lambda talk: talk.reply(b"", kind="image/png"))


# Further tasks.

task("poll-elsewhere", {"task_address": "t1", "poll_url": "http://127.0.0.1:9/x", "status": "queued"})(
    lambda talk: talk.json({"status": "processing"})
)
task("poll-metadata", {"task_address": "t1", "poll_url": "http://169.254.169.254/x", "status": "queued"})(
    lambda talk: talk.json({"status": "processing"})
)
task("poll-long", {"poll_url": "http://127.0.0.1/" + "x" * 1_000_000, "status": "queued"})(lambda talk: talk.json({"status": "processing"}))
task("address-number", {"task_address": 10**400, "message": "ok"})(lambda talk: talk.json({"status": "processing"}))
task("address-list", {"task_address": [["x"]], "message": "ok"})(lambda talk: talk.json({"status": "processing"}))
task("address-empty", {"task_address": "", "message": "ok"})(lambda talk: talk.json({"status": "processing"}))
task("address-controls", {"task_address": "\x1b[31m\x9b\u202e\x00", "message": "ok"})(lambda talk: talk.json({"status": "processing"}))
task("flips")(lambda talk: talk.json({"status": "completed" if talk.count % 2 else "processing"}))
task("goes-back")(lambda talk: talk.json({"status": ("processing", "queued", "failed", "processing")[talk.count % 4]}))
task("state-huge")(lambda talk: talk.json({"status": "s" * 5_000_000}))
task("state-number")(lambda talk: talk.json({"status": 10**30}))
task("state-controls")(lambda talk: talk.json({"status": "\x1b[2J\x9b31m\u202e", "error": "\x1b]0;owned\x07"}))
task("error-object")(lambda talk: talk.json({"status": "failed", "error": {"e" * 1_000_000: [{"x": [1] * 3000}]}}))
task("error-elsewhere")(lambda talk: talk.json({"status": "failed", "error": f"see {talk.elsewhere}"}))
task("result-null")(lambda talk: talk.json({"status": "completed", "result": None}))
task("result-text")(lambda talk: talk.json({"status": "completed", "result": "x" * 5_000_000}))
task("result-url")(lambda talk: talk.json({"status": "completed", "result": talk.elsewhere + "/result"}))
task("result-urls-15000")(lambda talk: talk.json({"status": "completed", "result": {"images": [talk.base + "/p"] * 15_000}}))
task("poll-bomb")(lambda talk: ATTACKS["gzip-bomb"][1](talk))
task("poll-key-elsewhere")(lambda talk: talk.json({}, f"Location: {talk.elsewhere}/v2/tasks/1", status="302 Found"))
task("poll-401")(lambda talk: talk.json({"message": "no"}, status="401 Unauthorized"))
task("poll-402")(lambda talk: talk.json({"message": "no credit"}, status="402 Pay"))
task("poll-dripped")(dripped_body)
task("retry-0", head=("Retry-After: 0",))(lambda talk: talk.json({"status": "queued"}, "Retry-After: 0"))
