"""A raw WebSocket client (RFC 6455, RFC 7395): every frame is visible, and may be wrong."""
import base64
import hashlib
import os
import ssl
import struct
import xml.etree.ElementTree as ET

from harness import xml
from harness.client import TIMEOUT, Client, insecure_context, readable, receive

FRAMING = "urn:ietf:params:xml:ns:xmpp-framing"
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


def frame(payload, opcode=TEXT, fin=True, mask=b"\x11\x22\x33\x44", reserved=0):
    """The bytes of one frame; mask None: unmasked, as no client may send it."""
    data = payload.encode() if isinstance(payload, str) else payload
    head = bytes([(0x80 if fin else 0) | reserved | opcode])
    bit = 0x80 if mask else 0
    if len(data) < 126:
        head += bytes([bit | len(data)])
    elif len(data) < 65536:
        head += bytes([bit | 126]) + struct.pack(">H", len(data))
    else:
        head += bytes([bit | 127]) + struct.pack(">Q", len(data))
    if not mask:
        return head + data
    return head + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(data))


class WebSocket(Client):
    """A client whose elements travel in frames. `handshake` keeps the answer of the server."""

    def __init__(self, address, *args, path="/xmpp-websocket", tls=False, headers=None, **options):
        super().__init__(address, *args, **options)
        self.sock.settimeout(TIMEOUT)
        if tls:
            self.sock = insecure_context(alpn=["http/1.1"]).wrap_socket(
                self.sock, server_hostname=self.domain)
        self.buffer = bytearray()  # long answers come in many pieces
        self.pongs = []
        self.closed_with = None  # code of the close frame
        key = base64.b64encode(os.urandom(16))
        fields = {"Host": f"localhost:{address[1]}", "Upgrade": "websocket",
                  "Connection": "Upgrade", "Sec-WebSocket-Key": key.decode(),
                  "Sec-WebSocket-Version": "13", "Sec-WebSocket-Protocol": "xmpp",
                  **(headers or {})}
        lines = "".join(f"{k}: {v}\r\n" for k, v in fields.items() if v is not None)
        self.sock.sendall(f"GET {path} HTTP/1.1\r\n{lines}\r\n".encode())
        while b"\r\n\r\n" not in self.buffer:
            data = self.sock.recv(65536)
            assert data, f"closed in the handshake: {self.buffer}"
            self.buffer += data
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        self.status = int(head.split()[1])
        self.handshake = head.decode()
        if self.status == 101:
            accept = base64.b64encode(hashlib.sha1(key + GUID).digest()).decode()
            assert f"Sec-WebSocket-Accept: {accept}" in self.handshake
            assert "Sec-WebSocket-Protocol: xmpp" in self.handshake

    def raw(self, data):
        """One element as one text frame; stanzas get their namespace."""
        text = data.decode() if isinstance(data, bytes) else data
        for name in ("iq", "message", "presence"):
            if text.startswith(f"<{name}") and text[len(name) + 1] in " />":
                text = f"<{name} xmlns='{xml.CLIENT}'{text[len(name) + 1:]}"
        self.frame(text)

    def frame(self, payload, **options):
        self.sock.sendall(frame(payload, **options))

    def bytes(self, data):
        self.sock.sendall(data)

    def pump(self, timeout):
        if self._take_frames():
            return True
        pending = getattr(self.sock, "pending", lambda: 0)()
        if not pending and not readable(self.sock, timeout):
            return False
        try:
            data = receive(self.sock, 65536)
        except (ConnectionError, ssl.SSLError):
            data = b""
        if data is None:
            return False
        if not data:
            self.eof = True
            return True
        self.buffer += data
        self._take_frames()
        return True

    def _take_frames(self):
        took = False
        while len(self.buffer) >= 2:
            opcode, size, at = self.buffer[0] & 15, self.buffer[1], 2
            assert self.buffer[0] & 0xf0 == 0x80, "a server's frame with fragments or reserved bits"
            assert size < 128, "a server masks nothing"
            if size >= 126:
                width = 2 if size == 126 else 8
                if len(self.buffer) < 2 + width:
                    break
                size, at = int.from_bytes(self.buffer[2:2 + width], "big"), 2 + width
            if len(self.buffer) < at + size:
                break
            payload = bytes(self.buffer[at:at + size])
            del self.buffer[:at + size]
            self._frame_arrived(opcode, payload)
            took = True
        return took

    def _frame_arrived(self, opcode, payload):
        if opcode == TEXT:
            element = ET.fromstring(payload)
            self._arrived(element)
        elif opcode == PING:
            self.frame(payload, opcode=PONG)
        elif opcode == PONG:
            self.pongs.append(payload)
        elif opcode == CLOSE:
            self.closed_with = int.from_bytes(payload[:2], "big") if payload else 1005

    # --- stream ---

    def open(self, to=None, header=None):
        self.frame(header or f"<open xmlns='{FRAMING}' to='{to or self.domain}' version='1.0'/>")
        self.header = self.expect(f"<open xmlns='{FRAMING}'/>")
        self.features = self.expect("<stream:features/>")
        return self.features

    def close(self):
        try:
            self.frame(f"<close xmlns='{FRAMING}'/>")
            self.expect(f"<close xmlns='{FRAMING}'/>")
            self.wait("end", lambda: self.eof)
        except (OSError, AssertionError):
            pass
        self.sock.close()

    def expect_code(self, code):
        """The server sends a close frame with that code and ends the connection."""
        self.wait("a close frame", lambda: self.closed_with is not None)
        assert self.closed_with == code, self.closed_with
        self.expect_closed()
