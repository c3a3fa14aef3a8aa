"""What a client may send, byte by byte, and what the RFCs let a server respond.

Sections without a number in front are of RFC 9112 (HTTP/1.1); ``9110:`` is HTTP Semantics, and
``6455:`` is WebSocket.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

Statuses = tuple[int, ...]

PATH: Final = b"/health/live"
CREATE: Final = b"/v1/download/initiate"
JSON: Final = b'{"file_ids":[1]}'
HOST: Final = b"Host: api.test\r\n"
OK: Final[Statuses] = (200,)
ACCEPTED: Final[Statuses] = (202,)
BAD: Final[Statuses] = (400,)


@dataclass(frozen=True, kw_only=True)
class Case:
    """One connection: bytes, and the responses to them."""

    name: str
    rule: str
    sent: bytes
    #: For each response, the statuses that the rule allows.
    responses: tuple[Statuses, ...]
    #: Whether the connection ends after that.
    closes: bool = False


def get(
    headers: bytes = b"", *, path: bytes = PATH, method: bytes = b"GET", version: bytes = b"1.1"
) -> bytes:
    return b"%b %b HTTP/%b\r\n%b%b\r\n" % (method, path, version, HOST, headers)


def post(body: bytes, headers: bytes = b"", *, length: bool = True) -> bytes:
    framing = b"Content-Length: %d\r\n" % len(body) if length else b""
    return (
        b"POST %b HTTP/1.1\r\n%bContent-Type: application/json\r\n%b%b\r\n"
        % (CREATE, HOST, framing, headers)
        + body
    )


def chunked(body: bytes, headers: bytes = b"") -> bytes:
    return post(body, b"Transfer-Encoding: chunked\r\n" + headers, length=False)


def _accepted(name: str, rule: str, sent: bytes, status: Statuses = OK, **more: bool) -> Case:
    return Case(name=name, rule=rule, sent=sent, responses=(status,), **more)


def _rejected(name: str, rule: str, sent: bytes, status: Statuses = BAD) -> Case:
    return Case(name=name, rule=rule, sent=sent, responses=(status,), closes=True)


CHUNKS: Final = b"10\r\n%b\r\n0\r\n\r\n" % JSON


def _request_line() -> list[Case]:
    line, host = b"GET " + PATH, HOST + b"\r\n"
    return [
        _accepted("plain GET", "3", get()),
        _accepted("empty line before the request", "2.2", b"\r\n" + get()),
        _accepted("query", "3.2.1", get(path=PATH + b"?a=b&c=%20")),
        _accepted("empty query", "3.2.1", get(path=PATH + b"?")),
        _accepted("percent-encoded path", "9110:4.2.3", get(path=b"/health/%6cive")),
        _accepted("HEAD has no body", "9110:9.3.2", get(method=b"HEAD")),
        _accepted("unknown path", "9110:15.5.5", get(path=b"/nothing"), (404,)),
        _accepted("double slash", "3.2.1", get(path=b"//nothing"), (404,)),
        _accepted("method not allowed", "9110:15.5.6", get(method=b"PUT"), (405,)),
        _accepted("QUERY is not allowed", "9110:15.5.6", get(method=b"QUERY"), (405,)),
        _accepted("TRACE is not supported", "9110:9.3.8", get(method=b"TRACE"), (405, 501)),
        _rejected("unknown method", "9110:9.1", get(method=b"BREW"), (405, 501)),
        _rejected("methods are case-sensitive", "9110:9.1", get(method=b"get"), (400, 405, 501)),
        _rejected("method is not a token", "9110:9.1", get(method=b"G(T")),
        _rejected("method of one space", "3.1", b" " + get()),
        # A recipient may split the line at any whitespace.
        _accepted("two spaces", "3", b"GET  " + PATH + b" HTTP/1.1\r\n" + host),
        _rejected("tab instead of a space", "3", b"GET\t" + PATH + b" HTTP/1.1\r\n" + host),
        _rejected("space in the target", "3.2", get(path=PATH + b"?a b")),
        _rejected("no version", "3", line + b"\r\n" + host),
        _rejected("lower-case version", "2.3", line + b" http/1.1\r\n" + host),
        _rejected("HTTP/0.9", "2.3", get(version=b"0.9"), (400, 505)),
        _rejected("HTTP/1.2", "2.3", get(version=b"1.2"), (400, 505)),
        _rejected("HTTP/1.10", "2.3", get(version=b"1.10"), (400, 505)),
        _rejected("HTTP/2.0", "2.3", get(version=b"2.0"), (400, 505)),
        _rejected("HTTP/01.1", "2.3", get(version=b"01.1"), (400, 505)),
        _rejected("HTTP/1.1x", "2.3", get(version=b"1.1x"), (400, 505)),
        _rejected("HTTP/1", "2.3", get(version=b"1"), (400, 505)),
        _rejected("HTTP/1,1", "2.3", get(version=b"1,1"), (400, 505)),
        _rejected("preface of HTTP/2", "2.3", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (400, 505)),
        _rejected("TLS", "2.2", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"),
        _rejected("fragment", "3.2", get(path=PATH + b"#top")),
        _rejected("fragment after a query", "3.2", get(path=PATH + b"?a#b")),
        _rejected("control character in the target", "3.2", get(path=PATH + b"\x01")),
        _rejected("DEL in the target", "3.2", get(path=PATH + b"\x7f")),
        _rejected("byte above 127 in the target", "3.2", get(path=PATH + b"?\xff")),
        _rejected("no slash", "3.2.1", get(path=b"health/live")),
        _rejected("authority form", "3.2.3", get(path=b"api.test:80")),
        _rejected("CONNECT", "9110:9.3.6", get(method=b"CONNECT", path=b"a:1"), (400, 405, 501)),
        _rejected("GET *", "3.2.4", get(path=b"*")),
        _accepted("OPTIONS *", "3.2.4", get(method=b"OPTIONS", path=b"*"), (200, 204)),
        _accepted("OPTIONS of a path", "9110:9.3.7", get(method=b"OPTIONS"), (200, 204)),
        _rejected("target of 20 KB", "3", get(path=b"/" + b"a" * 20_000), (414,)),
        _rejected("bare LF after the request line", "2.2", line + b" HTTP/1.1\n" + host),
        _rejected("bare CR in the request line", "2.2", line + b"\rx HTTP/1.1\r\n" + host),
        _rejected("space before the version's line end", "3", get(version=b"1.1 ")),
    ]


def _absolute_form() -> list[Case]:
    return [
        _accepted("absolute form", "3.2.2", get(path=b"http://api.test" + PATH)),
        _accepted("scheme in capitals", "9110:4.2.3", get(path=b"HTTP://api.test" + PATH)),
        _accepted("https", "3.2.2", get(path=b"https://api.test" + PATH)),
        _accepted("with port and query", "3.2.2", get(path=b"http://api.test:80" + PATH + b"?a")),
        _accepted("without path", "3.2.2", get(path=b"http://api.test"), (200, 302)),
        _accepted("query without path", "3.2.2", get(path=b"http://api.test?a=/b"), (200, 302)),
        _accepted("another Host", "3.2.2", get(path=b"http://other.test" + PATH)),
        _rejected("another scheme", "3.2.2", get(path=b"ftp://api.test" + PATH)),
        _rejected("without host", "9110:4.2.1", get(path=b"http://" + PATH)),
        _rejected("user information", "9110:4.2.4", get(path=b"http://u:p@api.test" + PATH)),
        _rejected("port 99999", "9110:4.2.1", get(path=b"http://api.test:99999" + PATH)),
        _rejected("port is no number", "9110:4.2.1", get(path=b"http://api.test:x" + PATH)),
        _rejected("relative scheme", "3.2.2", get(path=b"api.test/http://" + PATH)),
        _rejected("no Host field", "3.2", b"GET http://api.test" + PATH + b" HTTP/1.1\r\n\r\n"),
    ]


def _host() -> list[Case]:
    def with_host(value: bytes, version: bytes = b"1.1") -> bytes:
        return b"GET %b HTTP/%b\r\nHost:%b\r\n\r\n" % (PATH, version, value)

    valid = (b" a", b" a.b", b" a_b", b" a_b:80", b" a:", b" 10.0.0.1:8080", b" [::1]:80", b"a")
    invalid = {
        "space": b" a b",
        "slash": b" a/b",
        "path": b" a/",
        "user information": b" u@a",
        "password": b" u:p@a",
        "port 99999": b" a:99999",
        "port 0": b" a:0",
        "port of letters": b" a:b",
        "two ports": b" a:1:2",
        "list": b" a, b",
        "list without space": b" a,b",
        "scheme": b" http://a",
        "query": b" a?b",
        "fragment": b" a#b",
        "backslash": b" a\\b",
        "quote": b' a"b',
        "angle brackets": b" <a>",
        "byte above 127": b" \xe4",
        "empty": b"",
        "blank": b"  ",
        "only a port": b" :80",
        "IPv6 without brackets": b" ::1",
        "open bracket": b" [::1",
        "no address in brackets": b" [a.b]",
        "percent sign": b" a%20b",
        "300 characters": b" " + b"a" * 300,
    }
    return [
        *(_accepted(f"Host:{value.decode()}", "3.2", with_host(value)) for value in valid),
        *(_rejected(f"Host: {name}", "3.2", with_host(value)) for name, value in invalid.items()),
        _rejected("no Host", "3.2", b"GET " + PATH + b" HTTP/1.1\r\n\r\n"),
        _rejected("two equal Hosts", "3.2", get(HOST)),
        _rejected("two Hosts", "3.2", get(b"Host: b\r\n")),
        _accepted("no Host in 1.0", "3.2", b"GET " + PATH + b" HTTP/1.0\r\n\r\n", closes=True),
        _rejected("invalid Host in 1.0", "3.2", with_host(b" a b", b"1.0")),
    ]


def _fields() -> list[Case]:
    return [
        _accepted("no space after the colon", "5", get(b"A:b\r\n")),
        _accepted("empty value", "5", get(b"A:\r\n")),
        _accepted("blanks around the value", "5", get(b"A: \t b \t \r\n")),
        _accepted("bytes above 127 in a value", "9110:5.5", get(b"A: \xe4\xff\r\n")),
        _accepted("every character of a token", "9110:5.6.2", get(b"!#$%&'*+-.^`|~0aZ: b\r\n")),
        _accepted("underscore in a name", "9110:5.1", get(b"A_b: c\r\n")),
        _accepted("the same name twice", "9110:5.2", get(b"A: b\r\na: c\r\n")),
        _accepted(
            "value of 8 KB", "9110:5.4", get(b"Authorization: Bearer %b\r\n" % (b"a" * 8192))
        ),
        _accepted("90 fields", "9110:5.4", get(b"".join(b"A%d: b\r\n" % n for n in range(90)))),
        _rejected("200 fields", "9110:5.4", get(b"A: b\r\n" * 200), (400, 431)),
        _rejected("value of 40 KB", "9110:5.4", get(b"A: " + b"b" * 40_000 + b"\r\n"), (400, 431)),
        _rejected(
            "64 KB of fields", "9110:5.4", get(b"A: %b\r\n" % (b"b" * 1000) * 64), (400, 431)
        ),
        _rejected("blank before the colon", "5.1", get(b"A : b\r\n")),
        _rejected("tab before the colon", "5.1", get(b"A\t: b\r\n")),
        _rejected("no colon", "5", get(b"A\r\n")),
        _rejected("empty name", "5", get(b": b\r\n")),
        _rejected("blank in a name", "9110:5.1", get(b"A b: c\r\n")),
        _rejected("parenthesis in a name", "9110:5.1", get(b"A(b: c\r\n")),
        _rejected("byte above 127 in a name", "9110:5.1", get(b"\xe4: c\r\n")),
        _rejected("folded line", "5.2", get(b"A: b\r\n c\r\n")),
        _rejected("line folded with a tab", "5.2", get(b"A: b\r\n\tc\r\n")),
        _rejected("blank first field", "2.2", b"GET / HTTP/1.1\r\n A: b\r\n" + HOST + b"\r\n"),
        _rejected("NUL in a value", "9110:5.5", get(b"A: b\0c\r\n")),
        _rejected("bare CR in a value", "2.2", get(b"A: b\rc\r\n")),
        _rejected("bare LF after a field", "2.2", get(b"A: b\nC: d\r\n")),
        _rejected("control character in a value", "9110:5.5", get(b"A: b\x01\r\n")),
        _rejected("DEL in a value", "9110:5.5", get(b"A: b\x7f\r\n")),
    ]


def _length() -> list[Case]:
    def length(value: bytes) -> bytes:
        return post(JSON, b"Content-Length: %b\r\n" % value, length=False)

    invalid = (b"+16", b"-16", b"0x10", b"1 6", b"16.0", b"16, 17", b"16;", b"", b"a", b"9" * 40)
    return [
        _accepted("body by length", "6.3", post(JSON), ACCEPTED),
        _accepted("leading zeros", "6.2", length(b"0016"), ACCEPTED),
        _accepted("thousands of zeros", "9110:8.6", length(b"0" * 4_400 + b"16"), ACCEPTED),
        Case(
            name="an empty line after a body",
            rule="2.2",
            sent=post(JSON) + b"\r\n" + get(),
            responses=(ACCEPTED, OK),
        ),
        _accepted("length of zero", "6.3", get(b"Content-Length: 0\r\n")),
        _accepted("GET with a body", "9110:9.3.1", get(b"Content-Length: 3\r\n") + b"abc"),
        _accepted("no length", "6.3", post(b"", length=False), BAD),
        *(
            _rejected(f"Content-Length: {value[:9].decode()}", "6.3", length(value))
            for value in invalid
        ),
        _rejected("two lengths", "6.3", post(JSON, b"Content-Length: 3\r\n")),
        _rejected("too long a body", "9110:15.5.14", length(b"99999999"), (413,)),
    ]


def _codings() -> list[Case]:
    def coding(value: bytes, version: bytes = b"1.1") -> bytes:
        return b"POST %b HTTP/%b\r\n%bTransfer-Encoding: %b\r\n\r\n%b" % (
            CREATE,
            version,
            HOST,
            value,
            CHUNKS,
        )

    either = (400, 501)
    both = b"Content-Length: 16\r\n"
    return [
        _accepted("chunks", "7.1", chunked(CHUNKS), ACCEPTED),
        _accepted(
            "coding in capitals",
            "7",
            post(CHUNKS, b"Transfer-Encoding: CHUNKED\r\n", length=False),
            ACCEPTED,
        ),
        _rejected("gzip, chunked", "6.1", coding(b"gzip, chunked"), (501,)),
        _rejected("gzip", "6.3", coding(b"gzip"), either),
        _rejected("identity", "7", coding(b"identity"), either),
        _rejected("chunked, identity", "6.3", coding(b"chunked, identity"), either),
        _rejected("chunked, gzip", "6.3", coding(b"chunked, gzip"), either),
        _rejected("chunked twice", "7.1", coding(b"chunked, chunked"), either),
        _rejected("chunked in two fields", "7.1", coding(b"chunked\r\nTransfer-Encoding: chunked")),
        _rejected("xchunked", "6.1", coding(b"xchunked"), either),
        _rejected("quoted", "7", coding(b'"chunked"'), either),
        _rejected("parameter", "7.1", coding(b"chunked;a=b"), either),
        _rejected("empty coding", "7", coding(b""), either),
        _rejected("vertical tab", "9110:5.5", coding(b"\x0bchunked"), either),
        _rejected("chunks in HTTP/1.0", "6.1", coding(b"chunked", b"1.0"), either),
        _rejected("length and chunks", "6.3", chunked(CHUNKS, both)),
        _rejected("chunks and length", "6.3", post(CHUNKS, b"Transfer-Encoding: chunked\r\n")),
        _rejected(
            "blank in the name",
            "5.1",
            post(CHUNKS, b"Transfer-Encoding : chunked\r\n", length=False),
        ),
    ]


def _chunks() -> list[Case]:
    one = b"10\r\n%b\r\n" % JSON
    spaces = b"0A\r\n" + b" " * 10 + b"\r\n"
    too_long = b"20000\r\n" + b" " * 131_072
    extension = b"10;" + b"a" * 65_536 + b"\r\n"
    trailers = b"0\r\n" + b"A: b\r\n" * 200 + b"\r\n"
    many = b"".join(b"1\r\n%c\r\n" % byte for byte in JSON)
    return [
        _accepted("chunks of one byte", "7.1", chunked(many + b"0\r\n\r\n"), ACCEPTED),
        _accepted("leading zeros of a size", "7.1", chunked(b"000" + CHUNKS), ACCEPTED),
        _accepted("extension", "7.1.1", chunked(b"10;a=b\r\n" + CHUNKS[4:]), ACCEPTED),
        _accepted("quoted extension", "7.1.1", chunked(b'10;a="b;c"\r\n' + CHUNKS[4:]), ACCEPTED),
        _accepted("last chunk of zeros", "7.1", chunked(one + b"0000\r\n\r\n"), ACCEPTED),
        _accepted("trailer", "7.1.2", chunked(one + b"0\r\nA: b\r\n\r\n"), ACCEPTED),
        _accepted("hexadecimal size", "7.1", chunked(spaces + CHUNKS), ACCEPTED),
        _rejected("size is no number", "7.1", chunked(b"zz\r\n")),
        _rejected("size with 0x", "7.1", chunked(b"0x10\r\n" + CHUNKS[4:])),
        _rejected("negative size", "7.1", chunked(b"-1\r\n" + CHUNKS)),
        _rejected("size with plus", "7.1", chunked(b"+10\r\n" + CHUNKS[4:])),
        _rejected("no size", "7.1", chunked(b"\r\n" + CHUNKS)),
        _rejected("size over 64 bits", "7.1", chunked(b"1" + b"0" * 16 + b"\r\n")),
        _rejected("blank before a size", "7.1", chunked(b" " + CHUNKS)),
        _rejected("bare LF after a size", "7.1", chunked(b"10\n" + CHUNKS[4:])),
        _rejected("data longer than its size", "7.1", chunked(b"1\r\nab\r\n0\r\n\r\n")),
        _rejected("bare LF after data", "7.1", chunked(b"10\r\n%b\n0\r\n\r\n" % JSON)),
        _rejected("bare CR in an extension", "7.1.1", chunked(b"10;a\rb\r\n" + CHUNKS[4:])),
        _rejected(
            "extension of 64 KB",
            "7.1.1",
            chunked(extension),
            (400, 413, 431),
        ),
        _rejected("bare LF in a trailer", "7.1.2", chunked(one + b"0\r\nA: b\n\r\n")),
        _rejected(
            "200 trailers",
            "7.1.2",
            chunked(one + trailers),
            (400, 431),
        ),
        _rejected(
            "length as a trailer", "9110:6.5.1", chunked(one + b"0\r\nContent-Length: 3\r\n\r\n")
        ),
        _rejected(
            "body in chunks too long",
            "9110:15.5.14",
            chunked(too_long),
            (413,),
        ),
    ]


def _connections() -> list[Case]:
    good = get()
    return [
        Case(name="three pipelined", rule="9.3.2", sent=good * 3, responses=(OK, OK, OK)),
        Case(
            name="pipelined after a body",
            rule="9.3.2",
            sent=post(JSON) + good,
            responses=(ACCEPTED, OK),
        ),
        Case(
            name="pipelined after chunks",
            rule="9.3.2",
            sent=chunked(CHUNKS) + good,
            responses=(ACCEPTED, OK),
        ),
        Case(
            name="pipelined after trailers",
            rule="9.3.2",
            sent=chunked(CHUNKS[:-2] + b"X-Forwarded-For: 1.2.3.4\r\n\r\n") + good,
            responses=(ACCEPTED, OK),
        ),
        Case(name="100 pipelined", rule="9.3.2", sent=good * 100, responses=(OK,) * 100),
        Case(
            name="garbage after a request",
            rule="9.3.2",
            sent=good + b"\x00\x01\x02\r\n\r\n",
            responses=(OK, BAD),
            closes=True,
        ),
        Case(
            name="invalid request after a body",
            rule="9.3.2",
            sent=post(JSON) + b"GET / HTTP/1.1\r\n\r\n",
            responses=(ACCEPTED, BAD),
            closes=True,
        ),
        Case(
            name="nothing after close",
            rule="9.6",
            sent=get(b"Connection: close\r\n") + good,
            responses=(OK,),
            closes=True,
        ),
        _accepted("close", "9.6", get(b"Connection: close\r\n"), closes=True),
        _accepted("close in capitals", "9110:7.6.1", get(b"Connection: CLOSE\r\n"), closes=True),
        _accepted("close in a list", "9110:7.6.1", get(b"Connection: a, close\r\n"), closes=True),
        _accepted(
            "close before keep-alive",
            "9.3",
            get(b"Connection: close\r\nConnection: keep-alive\r\n"),
            closes=True,
        ),
        _accepted(
            "keep-alive before close", "9.3", get(b"Connection: keep-alive, close\r\n"), closes=True
        ),
        _accepted("keep-alive", "9.3", get(b"Connection: keep-alive\r\n")),
        _accepted("HTTP/1.0 closes", "9.3", get(version=b"1.0"), closes=True),
        _accepted("HTTP/1.0 keep-alive", "9.3", get(b"Connection: keep-alive\r\n", version=b"1.0")),
        _accepted(
            "HTTP/1.0 with a body",
            "6.3",
            post(JSON).replace(b"HTTP/1.1", b"HTTP/1.0", 1),
            ACCEPTED,
            closes=True,
        ),
    ]


def _expectations() -> list[Case]:
    expect = b"Expect: 100-continue\r\n"
    return [
        Case(
            name="100 Continue before a body",
            rule="9110:10.1.1",
            sent=post(JSON, expect)[: -len(JSON)],
            responses=((100,),),
        ),
        Case(
            name="100 Continue after the response before",
            rule="9110:10.1.1",
            sent=get() + post(JSON, expect)[: -len(JSON)],
            responses=(OK, (100,)),
        ),
        _accepted("the body is already here", "9110:10.1.1", post(JSON, expect), ACCEPTED),
        _accepted("no body", "9110:10.1.1", get(expect)),
        _accepted(
            "not in HTTP/1.0",
            "9110:10.1.1",
            post(JSON, expect).replace(b"HTTP/1.1", b"HTTP/1.0", 1),
            ACCEPTED,
            closes=True,
        ),
        _rejected(
            "not before a body that is too long",
            "9110:10.1.1",
            post(b"", expect + b"Content-Length: 99999999\r\n", length=False),
            (413,),
        ),
        _accepted("unknown expectation", "9110:10.1.1", get(b"Expect: b\r\n"), (200, 417)),
    ]


_KEY: Final = b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
_UPGRADE: Final = b"Connection: Upgrade\r\nUpgrade: websocket\r\n" + _KEY
_SOCKET: Final = b"/v1/download/subscribe/00000000-0000-4000-8000-000000000000"
_H2C: Final = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAQAAP__\r\n"


def _handshake(key: bytes) -> bytes:
    headers = _UPGRADE.replace(
        _KEY, b"Sec-WebSocket-Key: %b\r\nSec-WebSocket-Version: 13\r\n" % key
    )
    return get(headers, path=_SOCKET)


def _upgrades() -> list[Case]:
    version_8 = get(_UPGRADE + b"Sec-WebSocket-Version: 8\r\n", path=_SOCKET)
    return [
        _accepted("h2c is ignored", "9110:7.8", get(_H2C)),
        _accepted("h2c with a body", "9110:7.8", post(JSON, _H2C), ACCEPTED),
        _accepted("h2c with chunks", "9110:7.8", chunked(CHUNKS, _H2C), ACCEPTED),
        Case(
            name="a request after h2c",
            rule="9110:7.8",
            sent=post(JSON, _H2C) + get(),
            responses=(ACCEPTED, OK),
        ),
        _accepted("TLS upgrade", "9110:7.8", get(b"Connection: Upgrade\r\nUpgrade: TLS/1.0\r\n")),
        _accepted("websocket elsewhere", "9110:7.8", get(_UPGRADE), (200, 400, 404)),
        _accepted(
            "not in HTTP/1.0",
            "9110:7.8",
            get(_UPGRADE, path=_SOCKET, version=b"1.0"),
            (404,),
            closes=True,
        ),
        _accepted("WebSocket version 8", "6455:4.4", version_8, (426,)),
        *(
            _accepted(f"WebSocket key {key.decode()}", "6455:4.2.1", _handshake(key), BAD)
            for key in (b"AAAA", b"AAAAAAAAAAAAAAAAAAAAAAAA", b"AAAAAAAAAAAAAAAAAAAAAA", b"AA AA")
        ),
    ]


CASES: Final[dict[str, list[Case]]] = {
    "request line": _request_line(),
    "absolute form": _absolute_form(),
    "Host": _host(),
    "fields": _fields(),
    "length": _length(),
    "codings": _codings(),
    "chunks": _chunks(),
    "connections": _connections(),
    "expectations": _expectations(),
    "upgrades": _upgrades(),
}
