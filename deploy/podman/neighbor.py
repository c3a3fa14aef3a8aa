"""Check what a container of the internal network can reach of the object storage.

``python neighbor.py STORAGE_ADDRESS`` runs in such a container, with the standard library only. The
storage's own ports accept requests without a signature, so none of them may be reachable. The
forwarder may forward S3 only.
"""

from __future__ import annotations

import socket
import sys
import urllib.error
import urllib.request

#: Ports of SeaweedFS: S3, filer, master and volume server, each with its gRPC port.
PORTS = (8333, 18333, 8334, 8888, 18888, 9333, 19333, 9340, 19340, 8080, 18080, 23646, 33646)
S3 = 8333
FORBIDDEN = 403


def is_open(host: str, port: int) -> bool:
    """Return whether a TCP connection succeeds."""
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True


def unsigned_status(method: str) -> int:
    """Return the status of an unsigned request to the forwarder."""
    request = urllib.request.Request(f"http://s3:{S3}/files/1", b"x", method=method)
    try:
        with urllib.request.urlopen(request, timeout=5) as response:  # noqa: S310
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code


def main() -> None:
    """Exit with an error that names what is reachable and should not be."""
    found = [f"storage:{port}" for port in PORTS if is_open(sys.argv[1], port)]
    found += [f"s3:{port}" for port in PORTS if port != S3 and is_open("s3", port)]
    found += [
        f"unsigned {method}" for method in ("PUT", "DELETE") if unsigned_status(method) != FORBIDDEN
    ]
    if not is_open("s3", S3):
        found.append("the forwarder does not listen")
    if found:
        raise SystemExit(f"neighbor of the object storage: {', '.join(found)}")
    print("a neighbor reaches nothing of the object storage but S3, and needs a signature")


if __name__ == "__main__":
    main()
