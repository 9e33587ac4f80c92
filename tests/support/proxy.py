"""A proxy on loopback that connects clients to where its routes lead, and keeps what they had to say."""

from __future__ import annotations

import base64
import select
import socket

from .loopback import Answer, Request, Server, Violation, demand, reply
from .waiting import PATIENCE


class Proxy(Server):
    """CONNECT and nothing else.

    routes: the servers by the host and port that a client names.
    login: the user and the password that are demanded, if any.
    passed: what clients sent through it.
    """

    login: tuple[str, str] | None = None

    def __init__(self) -> None:
        super().__init__()
        self.routes: dict[str, Server] = {}
        self.passed = bytearray()

    @property
    def asked(self) -> list[str]:
        return [request.target for request in self.requests]

    def answer(self, request: Request) -> Answer:
        self.requests.append(request)
        try:
            demand(request.method == "CONNECT", 405, "only CONNECT")
            demand(request.headers.get("Host") in (None, request.target), 400, "another Host")
            for header in ("Authorization", "X-Amz-Security-Token"):
                demand(header not in request.headers, 400, f"{header} is for the server")
            if self.login:
                basic = base64.b64encode(":".join(self.login).encode()).decode()
                demand(request.headers.get("Proxy-Authorization") == f"Basic {basic}", 407, "another login")
            else:
                demand("Proxy-Authorization" not in request.headers, 400, "nobody asked for a login")
            demand(request.target in self.routes, 502, "no such host")
        except Violation as violation:
            return reply(*violation.args, 'Proxy-Authenticate: Basic realm="tests"')
        return self.fault("connect") or self._tunnel(self.routes[request.target])

    def _tunnel(self, server: Server) -> Answer:
        def answer(client: socket.socket) -> None:
            with socket.create_connection(server.server_address[:2], PATIENCE) as far:
                client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                other = {client: far, far: client}
                while True:
                    for side in select.select([client, far], [], [], PATIENCE)[0]:
                        data = side.recv(65536)
                        if not data:
                            return
                        other[side].sendall(data)
                        if side is client:
                            self.passed += data

        return answer
