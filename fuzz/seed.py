#!/usr/bin/env python3
"""Writes the kept inputs that people chose: fuzz/corpus/<target>/<name>.

What fuzzing adds to them lies in fuzz/found and is not kept, unless it found something: then
it gets a name and a line here.
"""
import pathlib

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent

HEADS = {
    "plain": b"GET /a?b=c HTTP/1.1\nhost: a\naccept: */*\n\n",
    "absolute": b"GET http://b:80/x HTTP/1.1\nHost: a\n\n",
    "authority": b"POST https://Example.com/mcp HTTP/2\ncookie: a=1\ncookie: b=2\ncontent-length: 4\n\nbody",
    "two-hosts": b"GET / HTTP/1.1\nhost: a\nhost: b\n\n",
    "both-hosts": b"GET http://b/ HTTP/2\nhost: a\n\n",
    "fragment": b"GET http://b#x HTTP/2\n\n",
    "userinfo": b"GET http://u@b/ HTTP/1.1\nhost: a\n\n",
    "literal": b"GET / HTTP/1.1\nhost: [::1]:8080\n\n",
    "dots": b"GET /pub/../admin HTTP/1.1\nhost: a\n\n",
    "encoded-dots": b"GET /pub/%2e%2E%2fadmin/..%5c HTTP/1.1\nhost: a\n\n",
    "backslash": b"GET /a\\..\\b HTTP/1.1\nhost: a\n\n",
    "nul": b"GET /a%00b HTTP/1.1\nhost: a\n\n",
    "utf8": "GET /é HTTP/2\nhost: a\n\n".encode(),
    "star": b"OPTIONS * HTTP/1.1\nhost: a\n\n",
    "connect": b"CONNECT a:443 HTTP/1.1\nhost: a\n\n",
    "trace": b"TRACE / HTTP/1.1\nhost: a\nauthorization: z\n\n",
    "listed": b"GET / HTTP/1.1\nhost: a\nconnection: close, X-A, authorization, content-length\nx-a: 1\nauthorization: z\n\n",
    "framing": b"POST / HTTP/1.1\nhost: a\ncontent-length: 4\ntransfer-encoding: chunked\n\nbody",
    "lengths": b"POST / HTTP/1.1\nhost: a\ncontent-length: 4\ncontent-length: 4\n\nbody",
    "aliases": b"GET / HTTP/1.1\nhost: a\nmcp_session_id: evil\nmcp-session_id: evil\nx_forwarded_for: 1\n\n",
    "upgrade": b"GET / HTTP/1.1\nhost: a\nconnection: upgrade, http2-settings\nupgrade: h2c\nhttp2-settings: AA\n\n",
    "expect": b"PUT / HTTP/1.1\nhost: a\nexpect: 100-continue\nte: trailers\ntrailer: x\n\n",
    "proxies": b"GET / HTTP/1.1\nhost: a\nproxy-connection: x\nproxy-authorization: y\nkeep-alive: 5\n\n",
}
BODIES = {
    "call": b'{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"work","arguments":{"name":"no"}}}',
    "call-last": b'{"params":{"name":"work"},"id":"a","method":"tools\\/call"}',
    "escaped": b'{"id":1,"m\\u0065thod":"tools/call","params":{"n\\u0061me":"w\\ud83d\\ude00"}}',
    "initialize": b'{"id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{}}}',
    "twice": b'{"id":1,"method":"tools/list","method":"tools/call"}',
    "case": b'{"id":1,"Method":"tools/list","method":"tools/call"}',
    "batch": b'[{"id":1,"method":"ping"},{"method":"notifications/initialized"},{"id":2,"result":{}}]',
    "behind": b'{"id":1,"method":"tools/list"}{"id":2,"method":"tools/call"}',
    "deep": b'{"params":' + b"[" * 70 + b"]" * 70 + b',"method":"x","id":1}',
    "numbers": b'{"id":-0.5e+9,"method":"x","a":[01,1.,1e]}',
    "mark": b'\xef\xbb\xbf {"id":null,"method":"x"}',
    "not-utf8": b'{"id":1,"method":"\xff\xfe"}',
    "subscribe": b'{"id":1,"method":"resources/subscribe","params":{"uri":"file:///a"}}',
}
STREAMS = {
    "result": b'data: {"jsonrpc":"2.0","id":1,"result":{"isError":true}}\n\n',
    "error": b'event: message\r\nid: 3\r\ndata: {"id":1,\r\ndata: "error":{"code":-32603}}\r\n\r\n',
    "other": b'event: endpoint\ndata: /messages?x=1\n\n: comment\nretry: 5\n\n',
    "returns": b'data:{"result":null}\r\rdata\r\r\n\n',
    "mark": b'\xef\xbb\xbfdata: {"result":{}}\n\n',
    "cut": b'data: {"result":',
    "lone": b"data\n\ndata:\n\ndata:  x\ndata: y\n\nevent:\n\n",
    "json": b'{"id":1,"result":{"content":[{"text":"}{\\"isError\\":true"}]}}',
}
ADMIN = {
    "weights": b'"17"\n{"weights": {"search-v1": 95, "search-v2": 5}, "reason": "first taste"}',
    "rollout": b'ci/main\n{"to": "search-v2", "stages": [{"percent": 10, "for": "5m", "approve": true}], "force": true}',
    "plan": b'*\n{"to": "v2", "plan": "careful"}',
    "reason": b'17\n{"reason": "a\\u0000\\u202e\\u001b[0m"}',
    "twice": b'\n{"weights": {"a": 1, "a": 2}}',
    "deep": b'\n{"weights":' + b'{"a":' * 80,
    "numbers": b'\n{"weights": {"a": 1e3, "b": -1, "c": 99999999999}}',
    "behind": b"x\n{} {}",
    "long": b"a" * 200 + b"\n{\"reason\":\"" + b"r" * 1100 + b'"}',
}
FILES = {
    "none": b"",
    "empty": b"\x00\x00\x00\xff",
    "half": b"\x00\x20\x00\xff",
    "magic": b"\x80\x00\x00\x04none",
    "god-byte": b"\x80\x00\x09\x01\x07",
    "page-size": b"\x80\x00\x0c\x04\xff\xff\xff\xff",
    "slot": b"\x80\x00\x40\x10" + b"\xff" * 16,
    "other-slot": b"\x80\x00\xc0\x10" + b"\x00" * 16,
    "root": b"\x00\x10\x00\x08\x01\xff\xff\xff\xff\xff\xff\xff",
    "two": b"\x80\x00\x09\x01\x02\x00\x10\x40\x04\xde\xad\xbe\xef",
}


def configs():
    syntaxes = {".yaml": 0, ".json": 1, ".toml": 2}
    for folder in ("config", "tests/config"):
        for path in sorted((ROOT / folder).iterdir()):
            if path.suffix in syntaxes and path.name != "schema.json":
                yield path.name, bytes([syntaxes[path.suffix]]) + path.read_bytes()


def chunked(texts):
    return {name: bytes([3 + i]) + text for i, (name, text) in enumerate(texts.items())}


def main():
    for target, inputs in {
        "head": HEADS,
        "hop_by_hop": {name: text.split(b"\n", 1)[1] for name, text in HEADS.items()},
        "host_target": HEADS,
        "peek": chunked(BODIES),
        "events": chunked(STREAMS),
        "config": dict(configs()),
        "admin_body": ADMIN,
        "state_file": FILES,
    }.items():
        folder = HERE / "corpus" / target
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in inputs.items():
            (folder / name).write_bytes(text)


main()
