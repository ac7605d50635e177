"""A connection between two servers that a test can cut."""
import contextlib
import select
import socket
import threading


class Wire:
    """A TCP forwarder that can be cut: RST to both sides, or FIN; its first connection alone;
    frozen: nothing is read any more; deaf: nothing of who connects is; or mute: nothing of the
    other side, until it is opened again. If one side ends, what it has sent arrives, and the other
    half goes on. cut_after: the next connection is cut, too, when so many bytes have come on
    it."""

    def __init__(self, port):
        self.target = port
        self.sock = socket.create_server(("127.0.0.1", 0))
        self.port = self.sock.getsockname()[1]
        self.pairs, self.seen, self.frozen, self.ended = [], 0, False, False
        self.shut = set()  # sockets that have nothing more to say
        self.deaf = self.mute = False
        self.cut_after, self.cut_at = None, None
        self.wake, self.waker = socket.socketpair()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        while not self.ended:
            socks = [s for pair in self.pairs for s in pair[self.deaf:2 - self.mute]
                     if s not in self.shut] if not self.frozen else []
            ready, _, _ = select.select([self.sock, self.wake, *socks], [], [])
            for sock in ready:
                if sock is self.wake:
                    self._order(self.wake.recv(1))
                elif sock is self.sock:
                    self._accept()
                else:
                    self._forward(sock)

    def _accept(self):
        one, _ = self.sock.accept()
        try:
            self.pairs.append((one, socket.create_connection(("127.0.0.1", self.target))))
        except OSError:
            self._reset(one)
        if self.cut_after is not None:
            self.cut_at, self.cut_after = self.seen + self.cut_after, None

    @staticmethod
    def _reset(sock):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        sock.close()

    def _drop(self, pair):
        for sock in pair:
            self._reset(sock)
        self._forget(pair)

    def _forget(self, pair):
        self.pairs.remove(pair)
        self.shut.difference_update(pair)

    def _end(self, sock, pair):
        """One side has said its last."""
        self.shut.add(sock)
        (pair[1] if sock is pair[0] else pair[0]).shutdown(socket.SHUT_WR)
        if self.shut.issuperset(pair):
            for one in pair:
                one.close()
            self._forget(pair)

    def _forward(self, sock):
        pair = next((p for p in self.pairs if sock in p), None)
        if pair is None:
            return
        try:
            data = sock.recv(16384)
            if not data:
                self._end(sock, pair)
                return
            (pair[1] if sock is pair[0] else pair[0]).sendall(data)
            self.seen += len(data)
            if self.cut_at is None or self.seen < self.cut_at:
                return
            self.cut_at = None
        except OSError:
            pass
        self._drop(pair)

    def _order(self, order):
        if order == b"c":
            while self.pairs:
                self._drop(self.pairs[0])
        if order == b"e":
            for sock in [sock for pair in self.pairs for sock in pair]:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
                sock.close()
            self.pairs, self.shut = [], set()
        if order == b"1" and self.pairs:
            self._drop(self.pairs[0])
        self.frozen, self.deaf, self.mute = order == b"f", order == b"d", order == b"m"

    def say(self, order):
        self.waker.send(order.encode())

    def close(self):
        self.ended = True
        self.say("c")
        self.thread.join()
        self.sock.close()
