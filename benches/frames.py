"""As much of HTTP/2 (RFC 9113) as a measurement needs: frames by hand, fields without a table, one request at a time."""

DATA, HEADERS, SETTINGS, PING, WINDOW_UPDATE = 0, 1, 4, 6, 8
END_STREAM, END_HEADERS, ACK = 1, 4, 1
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
# Nobody waits for room on the connection.
ROOM = (1 << 30).to_bytes(4, "big")


def frame(kind, flags, stream, payload=b""):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def block(fields):
    """A block of fields, each written out (RFC 7541, 6.2.2); none is longer than 126 bytes."""
    def text(value):
        return bytes([len(value)]) + value.encode()

    return b"".join(b"\x00" + text(name) + text(str(value)) for name, value in fields)


def read(stream):
    """The next frame: kind, flags, number of the stream, payload; `None` at the end."""
    top = stream.read(9)
    if len(top) < 9:
        return None
    length, number = int.from_bytes(top[:3], "big"), int.from_bytes(top[5:], "big")
    return top[3], top[4], number, stream.read(length)


def message(connection, stream):
    """Reads up to the end of a message, and says what has to be said meanwhile: the stream, and the body.
    The block of its fields stays unread."""
    body = b""
    while (one := read(stream)) is not None:
        kind, flags, number, payload = one
        if kind == DATA:
            body += payload
        if kind in (DATA, HEADERS) and flags & END_STREAM:
            return number, body
        if kind in (SETTINGS, PING) and not flags & ACK:
            connection.sendall(frame(kind, ACK, 0, payload if kind == PING else b""))
    return None, b""


def hello():
    return frame(SETTINGS, 0, 0) + frame(WINDOW_UPDATE, 0, 0, ROOM)


def whole(stream, fields, body=b""):
    """A whole message."""
    ends = 0 if body else END_STREAM
    top = frame(HEADERS, END_HEADERS | ends, stream, block(fields))
    return top + (frame(DATA, END_STREAM, stream, body) if body else b"")


def serve(connection, body):
    """Answers every request with the same body."""
    with connection, connection.makefile("rb") as stream:
        if stream.read(len(PREFACE)) != PREFACE:
            return
        connection.sendall(hello())
        while (number := message(connection, stream)[0]) is not None:
            fields = [(":status", 200), ("content-type", "application/octet-stream"), ("content-length", len(body))]
            connection.sendall(whole(number, fields, body))
