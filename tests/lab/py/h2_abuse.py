"""HTTP/2 frame by frame, by another library than the gateway's: what RFC 9113 forbids is refused
where it says, floods are cut off or borne, and everybody else is served all the while.

Usage: h2_abuse.py PORT. Prints one line a case; exits 1 when one failed.
"""
import socket
import struct
import sys
import time

import hpack
from hyperframe import frame as f

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
PATIENCE = 20
PORT = int(sys.argv[1])
GET = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a")]
POST = [(":method", "POST")] + GET[1:]
(NO_ERROR, PROTOCOL, _INTERNAL, FLOW, _SETTINGS_TIMEOUT, CLOSED, SIZE, REFUSED, _CANCEL, COMPRESSION, _CONNECT,
 CALM) = range(12)


class Peer:
    """One connection that writes whatever it is told."""

    def __init__(self, greet=True):
        self.socket = socket.create_connection(("127.0.0.1", PORT), PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.encoder, self.read, self.closed = hpack.Encoder(), b"", False
        if greet:
            self.send(PREFACE + f.SettingsFrame(0).serialize())

    def send(self, data):
        """Writes; False when the other side has closed."""
        try:
            self.socket.sendall(data)
            return True
        except OSError:
            return False

    def raw(self, kind, flags, stream, body, length=None):
        length = len(body) if length is None else length
        return self.send(struct.pack(">I", length)[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + body)

    def headers(self, stream, fields, end=True, more=False, block=None):
        block = self.encoder.encode(fields, huffman=False) if block is None else block
        flags = (1 if end else 0) | (0 if more else 4)
        return self.raw(1, flags, stream, block)

    def frames(self):
        """Frames as they come, until the other side closes or is silent for too long."""
        while True:
            while len(self.read) >= 9:
                length = int.from_bytes(self.read[:3], "big")
                if len(self.read) < 9 + length:
                    break
                head, body, self.read = self.read[:9], self.read[9:9 + length], self.read[9 + length:]
                yield head[3], head[4], struct.unpack(">I", head[5:9])[0] & 0x7FFFFFFF, body
            try:
                more = self.socket.recv(65536)
            except ConnectionError:
                more = b""
            if not more:
                self.closed = True
                return
            self.read += more

    def status(self, stream):
        """The status that a stream is answered with; None when it is reset or all is over."""
        decoder = hpack.Decoder()
        for kind, _flags, of, body in self.frames():
            if kind == 1:
                fields = dict(decoder.decode(body))
                if of == stream:
                    return int(fields[":status"])
            if (kind == 3 and of == stream) or kind == 7:
                return None
        return None

    def verdict(self, stream):
        """How the other side takes it: ('goaway' | 'reset', code), ('status', n) or ('closed', 0)."""
        decoder = hpack.Decoder()
        for kind, _flags, of, body in self.frames():
            if kind == 7:
                code = struct.unpack(">I", body[4:8])[0]
                if code != NO_ERROR:
                    return "goaway", code
            if kind == 3 and of == stream:
                return "reset", struct.unpack(">I", body[:4])[0]
            if kind == 1:
                fields = dict(decoder.decode(body))
                if of == stream:
                    return "status", int(fields[":status"])
        return "closed", 0


def served():
    """Whether an ordinary request on a connection of its own is answered 200."""
    peer = Peer()
    peer.headers(1, GET)
    return peer.status(1) == 200


CASES = []


def case(*good):
    def add(function):
        CASES.append((function.__name__.replace("_", " "), function, good))
        return function
    return add


def malformed(name, fields, end=True, body=b""):
    """A malformed request: a stream error, or an answer that refuses it (RFC 9113, 8.1.1)."""
    def run(peer):
        peer.headers(1, fields, end=end)
        if not end:
            peer.raw(0, 1, 1, body)
    CASES.append((name, run, ("reset", "400", "goaway", "405", "413", "417", "431", "501")))


CONNECTION = ("goaway", "closed")
STREAM = ("reset", "goaway", "closed")


@case(*CONNECTION)
def a_preface_that_is_none(peer):
    peer.send(b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n")
a_preface_that_is_none.greet = False


@case(*CONNECTION)
def data_on_stream_zero(peer):
    peer.raw(0, 0, 0, b"x")


@case(*CONNECTION)
def headers_on_stream_zero(peer):
    peer.headers(0, GET)


@case(*CONNECTION)
def headers_on_an_even_stream(peer):
    peer.headers(2, GET)


@case(*CONNECTION)
def a_stream_below_an_older_one(peer):
    peer.headers(5, GET)
    peer.headers(3, GET)
    peer.stream = 3


@case(*CONNECTION)
def data_on_an_idle_stream(peer):
    peer.raw(0, 0, 1, b"x")


@case(*CONNECTION)
def a_reset_of_an_idle_stream(peer):
    peer.raw(3, 0, 1, struct.pack(">I", 8))


@case(*CONNECTION)
def a_reset_of_the_wrong_size(peer):
    peer.headers(1, POST, end=False)
    peer.raw(3, 0, 1, b"abc")


@case(*CONNECTION)
def a_window_update_of_an_idle_stream(peer):
    peer.raw(8, 0, 1, struct.pack(">I", 1))


@case(*CONNECTION)
def a_window_update_of_zero_for_all(peer):
    peer.raw(8, 0, 0, struct.pack(">I", 0))


@case(*STREAM)
def a_window_update_of_zero_for_a_stream(peer):
    peer.headers(1, POST, end=False)
    peer.raw(8, 0, 1, struct.pack(">I", 0))


@case(*CONNECTION)
def a_window_that_overflows_for_all(peer):
    for _ in range(2):
        peer.raw(8, 0, 0, struct.pack(">I", 0x7FFFFFFF))


@case(*STREAM)
def a_window_that_overflows_for_a_stream(peer):
    peer.headers(1, POST, end=False)
    for _ in range(2):
        peer.raw(8, 0, 1, struct.pack(">I", 0x7FFFFFFF))


@case(*CONNECTION)
def a_window_update_of_the_wrong_size(peer):
    peer.raw(8, 0, 0, b"abc")


@case(*CONNECTION)
def settings_on_a_stream(peer):
    peer.raw(4, 0, 1, b"")


@case(*CONNECTION)
def settings_of_the_wrong_size(peer):
    peer.raw(4, 0, 0, b"abc")


@case(*CONNECTION)
def an_acknowledgement_with_a_body(peer):
    peer.raw(4, 1, 0, b"\0\3\0\0\0\1")


@case(*CONNECTION)
def a_push_setting_that_is_neither(peer):
    peer.raw(4, 0, 0, struct.pack(">HI", 2, 2))


@case(*CONNECTION)
def an_initial_window_that_is_too_large(peer):
    peer.raw(4, 0, 0, struct.pack(">HI", 4, 0x80000000))


@case(*CONNECTION)
def a_frame_size_that_is_too_small(peer):
    peer.raw(4, 0, 0, struct.pack(">HI", 5, 100))


@case(*CONNECTION)
def a_ping_on_a_stream(peer):
    peer.raw(6, 0, 1, b"12345678")


@case(*CONNECTION)
def a_ping_of_the_wrong_size(peer):
    peer.raw(6, 0, 0, b"1234")


@case(*CONNECTION)
def a_goaway_on_a_stream(peer):
    peer.raw(7, 0, 1, struct.pack(">II", 0, 0))


@case(*CONNECTION)
def a_push_promise_of_a_client(peer):
    peer.raw(5, 4, 1, struct.pack(">I", 2) + peer.encoder.encode(GET))


@case(*CONNECTION)
def a_frame_that_is_too_long(peer):
    peer.headers(1, POST, end=False)
    peer.raw(0, 0, 1, b"x" * 16385)


@case(*CONNECTION)
def padding_longer_than_the_frame(peer):
    peer.headers(1, POST, end=False)
    peer.raw(0, 8, 1, b"\x20abc")


@case(*CONNECTION)
def a_continuation_without_headers(peer):
    peer.raw(9, 4, 1, b"")


@case(*CONNECTION)
def another_frame_in_the_middle_of_headers(peer):
    peer.headers(1, GET, more=True)
    peer.raw(6, 0, 0, b"12345678")


@case(*CONNECTION)
def a_continuation_of_another_stream(peer):
    peer.headers(1, GET, more=True)
    peer.raw(9, 4, 3, b"")


@case(*CONNECTION)
def a_block_that_cannot_be_decompressed(peer):
    peer.headers(1, None, block=b"\xff\xff\xff\xff\xff\xff\xff")


@case(*CONNECTION)
def a_table_that_grows_past_its_bound(peer):
    peer.headers(1, None, block=b"\x3f\xe1\xff\x7f" + hpack.Encoder().encode(GET))


@case(*STREAM)
def data_after_the_end(peer):
    peer.headers(1, GET)
    peer.stream = 1
    for _ in range(2):
        peer.raw(0, 1, 1, b"x")
data_after_the_end.also = ("200",)


@case(*STREAM, "400")
def trailers_that_do_not_end_the_stream(peer):
    peer.headers(1, POST, end=False)
    peer.headers(1, [("x-trailer", "1")], end=False)


@case("200")
def unknown_frames_and_settings(peer):
    peer.raw(4, 0, 0, struct.pack(">HI", 0x99, 1))
    peer.raw(0x55, 0xFF, 0, b"anything")
    peer.headers(1, GET)


@case("200")
def headers_in_three_frames(peer):
    block = peer.encoder.encode(GET)
    peer.raw(1, 1, 1, block[:2])
    peer.raw(9, 0, 1, block[2:5])
    peer.raw(9, 4, 1, block[5:])


malformed("no method", GET[1:])
malformed("no path", [GET[0], GET[1], GET[3]])
malformed("no scheme", [GET[0], GET[2], GET[3]])
malformed("an empty path", [GET[0], GET[1], (":path", ""), GET[3]])
malformed("a path without a slash", [GET[0], GET[1], (":path", "x"), GET[3]])
malformed("a path with a line break", [GET[0], GET[1], (":path", "/ HTTP/1.1\r\nx: y"), GET[3]])
malformed("a path with a blank", [GET[0], GET[1], (":path", "/a b"), GET[3]])
malformed("a path with dots", [GET[0], GET[1], (":path", "/a/%2e%2e/b"), GET[3]])
malformed("two methods", [GET[0]] + GET)
malformed("two paths", GET + [(":path", "/b")])
malformed("an unknown pseudo-field", GET + [(":other", "x")])
malformed("an answer's pseudo-field", GET + [(":status", "200")])
malformed("a pseudo-field behind a field", [("x", "y")] + GET)
malformed("a name in upper case", GET + [("X-Upper", "y")])
malformed("a name with a line break", GET + [("x\r\ny", "z")])
malformed("a value with a line break", GET + [("x", "y\r\nz: 1")])
malformed("a value with a nul", GET + [("x", "y\0z")])
malformed("connection", GET + [("connection", "close")])
malformed("transfer-encoding", POST + [("transfer-encoding", "chunked")], False, b"0\r\n\r\n")
malformed("keep-alive", GET + [("keep-alive", "5")])
malformed("upgrade", GET + [("upgrade", "h2c")])
malformed("te", GET + [("te", "gzip")])
malformed("two hosts", GET + [("host", "b")])
malformed("a method with a line break", [(":method", "GET / HTTP/1.1\r\nx: y")] + GET[1:])
malformed("an authority with a line break", GET[:3] + [(":authority", "a\r\nx: y")])
malformed("a length that is too short", POST + [("content-length", "1")], False, b"four")
malformed("a length that is too long", POST + [("content-length", "9")], False, b"four")
malformed("two lengths", POST + [("content-length", "4"), ("content-length", "5")], False, b"four")
malformed("a length with a sign", POST + [("content-length", "+4")], False, b"four")
malformed("connect", [(":method", "CONNECT"), (":authority", "a:443")])
malformed("trace", [(":method", "TRACE")] + GET[1:])


def judge(name, run, good):
    peer = Peer(getattr(run, "greet", True))
    run(peer)
    kind, number = peer.verdict(getattr(peer, "stream", 1))
    seen = str(number) if kind == "status" else kind
    fine = seen in good or seen in getattr(run, "also", ())
    print(f"{'ok  ' if fine else 'FAIL'} {name}: {kind} {number}", flush=True)
    return fine


# Floods: NAME -> bytes for the n-th step. Each must be cut off, or end with everybody served.
def block(fields):
    return hpack.Encoder().encode(fields, huffman=False)


def head(kind, flags, stream, body):
    return struct.pack(">I", len(body))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + body


OPENED = head(1, 4, 1, block(POST))
FLOODS = {
    "rapid resets": (b"", lambda n: head(1, 5, 2 * n + 1, block(GET)) + head(3, 0, 2 * n + 1, struct.pack(">I", 8)), True),
    "resets that the server makes": (
        b"", lambda n: head(1, 4, 2 * n + 1, block(POST)) + head(8, 0, 2 * n + 1, struct.pack(">I", 0)), True),
    "continuations without end": (head(1, 0, 1, block(GET)), lambda n: head(9, 0, 1, block([("x", "y" * 8000)])), True),
    "empty continuations": (head(1, 0, 1, block(GET)), lambda n: head(9, 0, 1, b""), True),
    "empty data": (OPENED, lambda n: head(0, 0, 1, b""), True),
    "pings": (b"", lambda n: head(6, 0, 0, b"12345678"), True),
    "settings": (b"", lambda n: head(4, 0, 0, b""), True),
    "priorities": (b"", lambda n: head(2, 0, 2 * (n % 1000) + 1, struct.pack(">IB", 0, 9)), True),
    "unknown frames": (b"", lambda n: head(0x55, 0, 0, b"x" * 100), True),
    "window updates": (b"", lambda n: head(8, 0, 0, struct.pack(">I", 1)), True),
}


def flood(name, first, step, must_be_cut):
    peer = Peer()
    peer.send(first)
    begun, sent, cut = time.monotonic(), 0, False
    peer.socket.settimeout(1)
    while time.monotonic() - begun < 4 and not cut:
        pieces = b"".join(step(sent + n) for n in range(200))
        sent += 200
        cut = not peer.send(pieces)
        if sent % 4000 == 0 and not served():
            print(f"FAIL {name}: others wait, after {sent}", flush=True)
            return False
    fine = served() and (cut or not must_be_cut)
    print(f"{'ok  ' if fine else 'FAIL'} {name}: {'cut off' if cut else 'borne'} after {sent}", flush=True)
    return fine


def main():
    assert served(), "the gateway serves nothing"
    results = [judge(*one) for one in CASES]
    assert served(), "nobody is served after the malformed"
    results += [flood(name, *how) for name, how in FLOODS.items()]
    print(f"{results.count(True)} of {len(results)}")
    sys.exit(0 if all(results) else 1)


main()
