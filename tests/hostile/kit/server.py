"""A server that answers each request with one attack, named by the first segment of the path: raw sockets, a thread for each connection.

`python -m hostile.kit.server PORT` (from `tests/`) serves all of `ATTACKS`; `/<attack>/v1/…` is what a target of that name is asked, `/_ready/<attack>` answers when what it sends is made. No code of Testcard's.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).absolute().parents[2]))

from hostile.kit import bodies, framing, heads, pictures, places, streams, words  # noqa: F401 (each enters its attacks)
from hostile.kit.talk import ATTACKS, HOUR_S, READY, TLS, UNREAD, Talk


class Server:
    """Serves all attacks on a port of 127.0.0.1 until `close`. `asked`: how many requests each attack had; `billed`: how many of them were sent
    to be carried out; `leaked`: what came to the second port, another origin, with a key or a cookie, and cookies that came back.
    """

    def __init__(self, port: int = 0, context: ssl.SSLContext | None = None) -> None:
        self._listening = socket.create_server(("127.0.0.1", port), backlog=256)
        self._context = context
        self.port = self._listening.getsockname()[1]
        self._other = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.elsewhere = f"http://127.0.0.1:{self._other.getsockname()[1]}"
        #: Whose answer it is when the server is asked at its root whether it is a mock: that of the attack made ready last.
        self.current = ""
        self.asked: dict[str, int] = {}
        self.billed: dict[str, int] = {}
        self.leaked: dict[str, list[str]] = {}
        self._lock = threading.Lock()
        for listening in (self._listening, self._other):
            threading.Thread(target=self._accept, args=(listening,), daemon=True).start()

    def url(self, name: str) -> str:
        """The base URL of a target that is this attack; of one on TLS, once it was made ready."""
        return f"http{'s' if name in TLS else ''}://127.0.0.1:{self.port}/{name}"

    def close(self) -> None:
        """Accepts nothing more."""
        self._listening.close()
        self._other.close()

    def _accept(self, listening: socket.socket) -> None:
        while True:
            try:
                sock, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock, listening is self._other), daemon=True).start()

    def _serve(self, sock: socket.socket, other: bool) -> None:
        with contextlib.suppress(OSError, ValueError), sock:
            sock.settimeout(HOUR_S)
            talk = self._heard(sock)
            if talk is None:
                return
            name = talk.path.split("/")[1].partition("?")[0]
            if name == "_testcard":
                name = self.current
            if name == "_ready":
                self.current = talk.path.rpartition("/")[2]
                READY.get(talk.path.rpartition("/")[2], bytes)()
                talk.json({})
                return
            if name == "_seen":
                of = talk.path.rpartition("/")[2]
                talk.json({"billed": self.billed.pop(of, 0), "leaked": self.leaked.pop(of, [])})
                return
            secret = [header for header in ("authorization", "x-api-key", "cookie") if header in talk.headers]
            found = secret if other else [header for header in secret if header == "cookie"]
            with self._lock:
                talk.count = self.asked[name] = self.asked.get(name, 0) + 1
                self.billed[name] = self.billed.get(name, 0) + (talk.method == "POST")
                self.leaked.setdefault(name, []).extend(found)
            talk.base, talk.elsewhere = self.url(name), f"{self.elsewhere}/{name}"
            if other:
                talk.json({"message": "another origin"})
                return
            entered = ATTACKS.get(name)
            if entered is None:
                talk.json({"message": "there is no such attack"}, status="404 Not Found")
            else:
                entered[1](talk)
            with contextlib.suppress(OSError):
                # Closed in order, so that what was sent arrives; an attack that wants a reset has said so to the socket.
                sock.shutdown(socket.SHUT_WR)
                sock.settimeout(0.2)
                while sock.recv(65536):
                    pass

    def _heard(self, sock: socket.socket) -> Talk | None:
        data = b""
        while b"\r\n\r\n" not in data:
            more = sock.recv(65536)
            if not more:
                return None
            data += more
            if data.startswith(b"\x16\x03") and self.current in TLS:
                TLS[self.current](sock)
                return None
        head, _, rest = data.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        method, path, *_ = [*first.split(" "), "", ""]
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = 0 if path.split("/")[1:2] and path.split("/")[1] in UNREAD else int(headers.get("content-length", "0"))
        pieces, got = [rest], len(rest)
        while got < length:
            more = sock.recv(65536)
            if not more:
                return None
            pieces.append(more)
            got += len(more)
        return Talk(sock, method, path, headers, b"".join(pieces), "", 0)


if __name__ == "__main__":
    served = Server(int(sys.argv[1]) if len(sys.argv) > 1 else 0)
    print(served.port, flush=True)
    threading.Event().wait()
