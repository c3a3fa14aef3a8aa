"""Closes a listening socket without resetting clients that have just connected."""

from __future__ import annotations

import os
import socket
import struct
from contextlib import suppress
from ctypes import addressof, create_string_buffer
from pathlib import Path
from typing import Final

import gevent
from gevent.pool import Pool
from gevent.server import StreamServer

#: Seconds on shutdown for clients that are in the middle of the TCP handshake: a round trip.
HANDSHAKE_TIME: Final = 0.05
#: See socket(7).
_SO_ATTACH_FILTER: Final = 26
_SO_DETACH_FILTER: Final = 27
#: An instruction of a socket filter: operation, jump if true, jump if false, operand
#: (``struct sock_filter`` in linux/filter.h).
_INSTRUCTION: Final = struct.Struct("HBBI")
#: Drops segments with the flag SYN, a bit of byte 13 of the TCP header (RFC 9293, 3.1).
_DROP_SYN: Final = b"".join(
    _INSTRUCTION.pack(*instruction)
    for instruction in (
        (0x30, 0, 0, 13),  # Load the byte.
        (0x45, 0, 1, 0x02),  # Skip the next instruction if the bit is not set.
        (0x06, 0, 0, 0),  # Drop the segment.
        (0x06, 0, 0, 0xFFFF_FFFF),  # Keep it.
    )
)


def stop_listening(server: StreamServer, pool: Pool, *, parent: int) -> None:
    """Close the listener of ``server``, and serve in ``pool`` what it has accepted until then.

    The kernel resets connections that are left in the queue of a socket when it is closed.
    ``parent``: the process id of the parent, which closes its own copy of the socket first if the
    whole server stops.
    """
    if not _has_open(parent, server.socket):
        _drop_connection_requests(server.socket)
        gevent.sleep(HANDSHAKE_TIME)
    server.stop_accepting()
    handle = server._handle
    accepted: list[tuple[socket.socket, tuple[str, int]]] = []
    with suppress(OSError):
        while len(accepted) < pool.free_count() and (found := server.do_read()) is not None:
            accepted.append(found)
    server.socket.close()
    server.close()
    for client, address in accepted:
        pool.spawn(handle, client, address)


def _has_open(pid: int, sock: socket.socket) -> bool:
    """Return whether another process of this user has ``sock`` open; True if unknown."""
    link = f"socket:[{os.fstat(sock.fileno()).st_ino}]"
    try:
        return any(str(entry.readlink()) == link for entry in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return True


def _drop_connection_requests(listener: socket.socket) -> None:
    """Drop new connection requests, so that none arrives between the last accept and the close.

    The client's kernel repeats the dropped SYN after a second (RFC 6298, section 2). By then, the
    port is closed, and the connection is refused.
    """
    program = create_string_buffer(_DROP_SYN)
    count = len(_DROP_SYN) // _INSTRUCTION.size
    with suppress(OSError):
        filter_program = struct.pack("HP", count, addressof(program))
        listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, filter_program)


def accept_connection_requests(listener: socket.socket) -> None:
    """Undo what another process did to the socket when it stopped, if it is shared.

    The filter belongs to the socket, which can outlive a server: gunicorn passes it on (SIGUSR2),
    and so does systemd (LISTEN_FDS).
    """
    with suppress(OSError):
        listener.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)
