"""The TCP proxy of the fault tests ends connections of a killed process as the kernel does."""

from __future__ import annotations

import socket

from tests.support.tcp_proxy import TcpProxy


def test_the_server_learns_immediately_that_a_client_died_with_unread_data() -> None:
    """In this case the kernel sends RST, not FIN."""
    listener = socket.create_server(("127.0.0.1", 0))
    with listener, TcpProxy(listener.getsockname()[1]) as proxy:
        client = socket.create_connection(("127.0.0.1", proxy.port), timeout=3)
        server, _ = listener.accept()
        with server:
            server.settimeout(3)
            server.sendall(b"never read")
            assert client.recv(1, socket.MSG_PEEK) == b"n"
            client.close()
            assert server.recv(1) == b""
