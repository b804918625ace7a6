"""Locust's sockets, with every message authenticated and none without bound. Imports Locust, which patches the process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import locust.runners
import zmq
from locust.exception import RPCError
from locust.rpc import zmqrpc
from locust.rpc.protocol import Message

from testcard.benchmarks.fleet.messages import VERSION, Channel, NotGenuine, Side
from testcard.harness.redaction import keep_secret

#: A message is no larger: a thousand samples are far below, and what is larger is not even received.
MOST_BYTES = 32 * 1024 * 1024
#: What is answered to a message that is not taken, so that a worker with another secret need not wait for five minutes.
REFUSED = VERSION + b" refused"


def _said(message: bytes) -> Any:
    return Message.unserialize(message)  # type: ignore[no-untyped-call]


class _Sealed:
    """A message as Locust's sockets want it, whose bytes are the frame."""

    def __init__(self, channel: Channel, message: Any, worker: str) -> None:
        self.node_id = worker
        self._frame = channel.sealed(message.serialize(), worker)

    def serialize(self) -> bytes:
        """The frame."""
        return self._frame


def authenticate(channel: Channel, refused: Callable[[str, str], None]) -> None:
    """Lets every Locust runner of this process speak through the channel. `refused` is told who said what was not taken, and why.

    Locust makes its sockets itself, in the runner's constructor, so they are put where it looks for them.
    """

    class Server(zmqrpc.Server):
        def __init__(self, host: str, port: int) -> None:
            zmqrpc.BaseSocket.__init__(self, zmq.ROUTER, self.ipv4_only(host, port))  # type: ignore[no-untyped-call]
            self.socket.setsockopt(zmq.MAXMSGSIZE, MOST_BYTES)  # holds for what is bound from now on
            if port == 0:
                self.port = self.socket.bind_to_random_port(f"tcp://{host}")
                return
            try:
                self.socket.bind(f"tcp://{host}:{port}")
            except zmq.ZMQError as error:
                raise RPCError(f"Socket bind failure: {error}") from error
            self.port = port

        def send_to_client(self, msg: Any) -> None:
            super().send_to_client(_Sealed(channel, msg, msg.node_id))

        def recv_from_client(self) -> tuple[str, Any]:
            while True:
                try:
                    parts = self.socket.recv_multipart()
                except zmq.ZMQError as error:
                    raise RPCError("ZMQ network broken") from error
                name = parts[0].decode("utf-8", "replace")
                try:
                    return name, _said(channel.opened(parts[1] if len(parts) == 2 else b"", name))
                except NotGenuine as error:
                    refused(name, str(error))
                    self._answer(parts[0])

        def _answer(self, address: bytes) -> None:
            try:
                self.socket.send_multipart([address, REFUSED], zmq.NOBLOCK)
            except zmq.ZMQError:
                return  # it is gone, or does not listen

    class Client(zmqrpc.Client):
        def __init__(self, host: str, port: int, identity: str) -> None:
            self._name = identity
            self._host = f"{host}:{port}"
            zmqrpc.BaseSocket.__init__(self, zmq.DEALER, self.ipv4_only(host, port))  # type: ignore[no-untyped-call]
            self.socket.setsockopt(zmq.MAXMSGSIZE, MOST_BYTES)
            self.socket.setsockopt(zmq.IDENTITY, identity.encode())
            self.socket.connect(f"tcp://{host}:{port}")

        def send(self, msg: Any) -> None:
            super().send(_Sealed(channel, msg, self._name))

        def recv(self) -> Any:
            while True:
                try:
                    frame = self.socket.recv()
                except zmq.ZMQError as error:
                    raise RPCError("ZMQ network broken") from error
                try:
                    return _said(channel.opened(frame, self._name))
                except NotGenuine as error:
                    refused(self._host, "it does not take this worker's word" if frame == REFUSED else str(error))

    vars(locust.runners)["rpc"] = _Sockets(Server, Client)


class _Sockets:
    """What Locust's runners make their sockets of."""

    def __init__(self, server: Any, client: Any) -> None:
        self.Server = server
        self.Client = client


def guard(secret: str, side: Side, refused: Callable[[str, str], None]) -> None:
    """As `authenticate`, with a channel of its own; the secret never reaches an output."""
    keep_secret(secret)
    authenticate(Channel(secret, side), refused)
