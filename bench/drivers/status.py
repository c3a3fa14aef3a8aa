"""Polls the status of jobs with wrk, one after the other; ``--etag`` sends If-None-Match."""

from __future__ import annotations

import http.client
from pathlib import Path

from bench.drivers.common import argument_parser, host_and_port, load_headers, report
from bench.drivers.wrk import lua_table, quoted, run_wrk

PATH = "/v1/download/status/"


def main() -> None:
    """Load and report."""
    parser = argument_parser(__doc__)
    parser.add_argument("--ids", type=Path, required=True, help="file of job ids, one a line")
    parser.add_argument("--jobs", type=int, default=1_000)
    parser.add_argument("--etag", action="store_true")
    options = parser.parse_args()
    headers = load_headers(options.headers)[0]
    ids = options.ids.read_text().split()[: options.jobs]
    tags = _etags(options.base, ids, headers) if options.etag else [""] * len(ids)
    requests = [
        f"{{{quoted(PATH + job_id)}, "
        f"{lua_table({**headers, 'If-None-Match': tag} if tag else headers)}}}"
        for job_id, tag in zip(ids, tags, strict=True)
    ]
    script = [
        f"local requests, n = {{{', '.join(requests)}}}, 0",
        # Formatted once: then a request costs wrk next to nothing.
        "init = function()",
        "  for i, r in ipairs(requests) do requests[i] = wrk.format('GET', r[1], r[2]) end",
        "end",
        "request = function() n = n % #requests + 1; return requests[n] end",
    ]
    report(
        run_wrk(
            options.base,
            script,
            connections=options.connections,
            seconds=options.seconds,
            pid=options.pid,
        )
    )


def _etags(base: str, ids: list[str], headers: dict[str, str]) -> list[str]:
    connection = http.client.HTTPConnection(*host_and_port(base), timeout=10)
    tags = []
    for job_id in ids:
        connection.request("GET", PATH + job_id, headers=headers)
        response = connection.getresponse()
        response.read()
        tags.append(response.headers["ETag"])
    connection.close()
    return tags


if __name__ == "__main__":
    main()
