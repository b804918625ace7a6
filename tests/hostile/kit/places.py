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
            url.replace("SECUREBASE", talk.base.replace("http:", "https:"))
            .replace("BASE", talk.base)
            .replace("ELSEWHERE", talk.elsewhere)
            .replace("NUMBER", str(number))
            for number in range(count)
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


# Hosts that only some readers take for this machine, and addresses that are no picture's.

leads("url-https-of-its-own", "SECUREBASE/got")
leads("url-v6-zone-raw", "http://[fe80::1%lo]:9/")
leads("url-v6-6to4", "http://[2002:7f00:1::]:9/")
leads("url-v6-teredo", "http://[2001:0:7f00:1::1]:9/")
leads("url-v6-compatible", "http://[::127.0.0.1]:9/")
leads("url-v6-long", "http://[0000:0000:0000:0000:0000:0000:0000:0001]:9/")
leads("url-v6-future", "http://[v1.x]:9/")
leads("url-0-host", "http://0:9/")
leads("url-beyond-host", "http://4294967297:9/")
leads("url-octal-long", "http://00000000177.0000.00.1:9/")
leads("url-hex-one", "http://0x7f000001:9/")
leads("url-mixed-host", "http://0x7f.0.1:9/")
leads("url-minus-host", "http://-1:9/")
leads("url-percent-host", "http://%31%32%37.0.0.1:9/")
leads("url-dots-of-cjk", "http://127\u30020\u30020\u30021:9/")
leads("url-arabic-digits", "http://\u0661\u0662\u0667.0.0.1:9/")
leads("url-soft-hyphen", "http://local\u00adhost:9/")
leads("url-zero-width", "http://local\u200bhost:9/")
leads("url-circled-letters", "http://\u24db\u24de\u24d2\u24d0\u24db\u24d7\u24de\u24e2\u24e3:9/")
leads("url-dot-after-ip", "http://127.0.0.1.:9/")
leads("url-dots-after", "http://localhost..:9/")
leads("url-two-ats", "http://a@b@127.0.0.1:9/")
leads("url-at-in-fragment", "http://127.0.0.1:9#@example.invalid/")
leads("url-at-in-query", "http://127.0.0.1:9?@example.invalid/")
leads("url-colons", "http://127.0.0.1:9:9/")
leads("url-tab-in-host", "http://127.0.0\t.1:9/")
leads("url-line-in-host", "http://127.0.0.1\n:9/")
leads("url-nul-in-host", "http://127.0.0.1\0.example.invalid:9/")
leads("url-tab-in-scheme", "ht\ttp://127.0.0.1:9/")
leads("url-space-first", " http://127.0.0.1:9/")
leads("url-one-slash", "http:/127.0.0.1:9/x")
leads("url-three-slashes", "http:///127.0.0.1:9/x")
leads("url-no-slashes", "http:127.0.0.1:9")
leads("url-nested", "http://http://127.0.0.1:9/")
leads("url-port-digits", "http://127.0.0.1:" + "0" * 5000 + "9/")
leads("url-port-arabic", "http://127.0.0.1:\u0669/")
leads("url-port-underscore", "http://127.0.0.1:8_0/")
leads("url-punycode-long", "http://xn--" + "a" * 3000 + "/x")
leads("url-punycode-loop", "http://xn--xn--xn--a/")
leads("url-ws", "ws://127.0.0.1:9/")
leads("url-unix", "unix:///var/run/docker.sock")
leads("url-http-unix", "http+unix://%2Fvar%2Frun%2Fdocker.sock/x")
leads("url-file-host", "file://127.0.0.1/etc/passwd")
leads("url-jar", "jar:http://127.0.0.1:9/!/x")
leads("url-blob", "blob:http://127.0.0.1:9/x")
leads("url-about", "about:blank")
leads("url-words", "\x1b[31m\x9b\u202e\u061c")
leads("url-surrogate-host", "http://\ud800:9/")
leads("data-upper-case", "DATA:IMAGE/PNG;BASE64," + b64(png(256, 256)))
leads("data-no-type", "data:;base64," + b64(png(256, 256)))
leads("data-parameters", "data:image/png;charset=x;base64;base64," + b64(png(256, 256)))
leads("data-no-comma", "data:image/png;base64")
leads("data-percent", "data:image/png," + "".join(f"%{one:02X}" for one in png(256, 256)))
leads("data-percent-odd", "data:image/png,%zz%0%%%")
leads("data-svg", "data:image/svg+xml;utf8,<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>")
leads("data-eps", "data:application/postscript;base64," + b64(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n%%EOF\n"))
leads("data-type-controls", "data:\x1b[31m\x9b;base64," + b64(png(256, 256)))
leads("data-commas", "data:" + "," * 1_000_000)
leads("data-semicolons", "data:" + ";" * 1_000_000 + ",x")
leads("data-nested", "data:text/plain,data:image/png;base64,AA==")
leads("data-30-mb", "data:image/png;base64," + "A" * 30_000_000)

redirects("redirect-no-scheme", "//127.0.0.1:9/")
redirects("redirect-backslashes", "/\\\\127.0.0.1:9/")
redirects("redirect-at-in-fragment", "http://127.0.0.1:9#@example.invalid/")
redirects("redirect-percent-host", "http://%31%32%37.0.0.1:9/")
redirects("redirect-chain", "BASE/NUMBER/v1/images/generations")
redirects("redirect-query-only", "?again=NUMBER")
redirects("redirect-fragment-only", "#x")
redirects("redirect-dots", "/../../../..//127.0.0.1:9/x")
redirects("redirect-tab", "ht\ttp://127.0.0.1:9/")
redirects("redirect-javascript", "javascript:alert(1)")

for status in (300, 304, 305, 306, 310, 399):

    def _odd(talk: Talk, status: int = status) -> None:
        talk.json({}, f"Location: {talk.elsewhere}/v1/images/generations", status=f"{status} Odd")

    attack(name=f"redirect-{status}")(_odd)


@attack()
def redirect_without_a_place(talk: Talk) -> None:
    talk.json({}, status="302 Found")


@attack()
def redirect_by_html(talk: Talk) -> None:
    talk.reply(
        f'<meta http-equiv="refresh" content="0;url={talk.elsewhere}">'.encode(), f"Refresh: 0; url={talk.elsewhere}", kind="text/html"
    )


download("half-closed")(lambda talk: ATTACKS["half-closed-before-the-head"][1](talk))
download("deflate-raw-bomb")(lambda talk: ATTACKS["raw-deflate-bomb"][1](talk))
download("gif-bare")(
    lambda talk: talk.reply(b"GIF89a" + bytes(4) + b"\0\0\0" + (b"," + bytes(9) + b"\x02\x02\x44\x01\0") * 500_000, kind="image/gif")
)
download("retry-0")(lambda talk: talk.json({}, "Retry-After: 0", status="503 Busy"))
download("type-controls")(
    lambda talk: talk.reply(png(256, 256), "Content-Disposition: attachment; filename=../../\x1b[31m", kind="\x1b[31m\x9b")
)
download("refresh")(lambda talk: talk.reply(png(256, 256), f"Refresh: 0; url={talk.elsewhere}", kind="image/png"))

# Further ids and states of tasks.

for label, address in {
    "percent-dots": "%2e%2e%2fadmin", "percent-twice": "%252e%252e%252fadmin", "query": "t?x=1&y#z", "semicolon": "t;/../x", "backslash": "..\\..\\admin",
    "wide-slash": "t\u2215..\uff0fx", "dot": ".", "two-dots": "..", "space": "a b", "true": True, "nan": float("nan"), "object": {"id": "t"}, "url": "http://127.0.0.1:9/x",
    "colon": "http:", "percent-nul": "t%00", "percent-line": "t%0d%0aX:%201", "percent-odd": "t%zz%", "words": "\u061c\u202e\x9b31m", "surrogate": "\ud800",
}.items():  # fmt: skip
    task(f"id-{label}", {"task_address": address, "message": "ok"})(lambda talk: talk.json({"status": "processing"}))

task("done-then-not")(lambda talk: talk.json({"status": "completed"} if talk.count < 4 else {"status": "queued"}))
task("done-then-failed")(lambda talk: talk.json({"status": ("completed", "failed")[talk.count % 2], "result": None, "error": None}))
task("done-empty-then-silent")(lambda talk: talk.json({"status": "completed", "result": {}}, "Retry-After: 99999"))
task("state-spelled-oddly")(lambda talk: talk.json({"status": " COMPLETED\u200b", "Status": "failed"}))
task("state-twice")(lambda talk: talk.reply(b'{"status": "processing", "status": "completed"}'))
task("state-bool")(lambda talk: talk.json({"status": True}))
task("state-deep")(lambda talk: talk.json({"status": {"status": {"status": "completed"}}}))
task("accepted-twice")(lambda talk: talk.json({"task_address": f"other{talk.count}"}, status="202 Accepted"))
task("poll-204")(lambda talk: talk.reply(b"", status="204 Nothing"))
task("poll-304")(lambda talk: talk.reply(b"", status="304 Same"))
task("poll-html")(lambda talk: talk.reply(b"<html>", kind="text/html"))
task("poll-half-closed")(lambda talk: ATTACKS["half-closed-before-the-head"][1](talk))


@attack("opengpu-relay")
def task_id_is_the_key(talk: Talk) -> None:
    key = talk.headers.get("authorization", talk.headers.get("x-api-key", "none")).removeprefix("Bearer ")
    talk.json(
        {"status": "processing", "note": key} if talk.method == "GET" else {"task_address": key, "message": key},
        status="200 OK" if talk.method == "GET" else "202 Accepted",
    )


@attack()
def download_dripped_large(talk: Talk) -> None:
    """Answers of 25 MB, each of which leads to a picture that drips: several at once are waited for."""
    if talk.method == "POST":
        talk.json(good(data=[{"url": f"{talk.base}/got"}], filling="x" * 25_000_000 + str(talk.count)))
    else:
        dripped_body(talk)
