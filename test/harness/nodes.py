"""Two nodes in one process, over one database: with MUSTER_TEST_NODES=2 every server of the tests
has them, and each client connects to the node that is not the home of its account. Only debug
builds of musterd can do that (src/app/second_node.h)."""
import itertools
import os

COUNT = int(os.environ.get("MUSTER_TEST_NODES", "1"))
SLOTS = 4096
KEYS = 0x6d75737465722073, 0x6c6f747320763031  # of src/home/node.c
MASK = (1 << 64) - 1


def _round(v):
    def turned(x, bits):
        return (x << bits | x >> (64 - bits)) & MASK
    a, b, c, d = v
    a, c = (a + b) & MASK, (c + d) & MASK
    b, d = turned(b, 13) ^ a, turned(d, 16) ^ c
    a = turned(a, 32)
    c, a = (c + b) & MASK, (a + d) & MASK
    b, d = turned(b, 17) ^ c, turned(d, 21) ^ a
    return [a, b, turned(c, 32), d]


def slot(jid):
    """SipHash-1-3 of the bare JID, as node_slot() has it."""
    data = jid.encode()
    v = [KEYS[0] ^ 0x736f6d6570736575, KEYS[1] ^ 0x646f72616e646f6d,
         KEYS[0] ^ 0x6c7967656e657261, KEYS[1] ^ 0x7465646279746573]
    whole = len(data) // 8 * 8
    words = [int.from_bytes(data[i:i + 8], "little") for i in range(0, whole, 8)]
    words.append(int.from_bytes(data[whole:], "little") | (len(data) & 255) << 56)
    for word in words:
        v[3] ^= word
        v = _round(v)
        v[0] ^= word
    v[2] ^= 0xff
    for _ in range(3):
        v = _round(v)
    return (v[0] ^ v[1] ^ v[2] ^ v[3]) % SLOTS


def worker(jid, count):
    """The worker of its node, of so many, where the address has its home."""
    return slot(jid) % count


def of_each_worker(count):
    """Names of accounts at localhost: one of each worker."""
    return [next(name for i in itertools.count()
                 if worker(f"{(name := f'w{i}')}@localhost", count) == n) for n in range(count)]


def home(jid):
    """The node of the account: 0 or 1."""
    return slot(jid) * COUNT // SLOTS


def away(jid):
    """The other one, to which its clients connect; without an account, the first."""
    return (home(jid) + 1) % COUNT if jid and COUNT > 1 else 0


# What cannot pass on two nodes, by the test and the reason.
CHARGE = "a stream is told by the home of its session what copies cost, here a little later"
CERTIFICATE = "the second node of the process keeps the certificates that it has begun with"
BACK = "stanzas go back on a stream (XEP-0288) only where its domain has its home on the node of it"
CANNOT = {
    "im/test_multicast.py::test_copies_are_charged_to_the_sender": CHARGE,
    "federation/test_fedtest_imtest.py::test_a_domain_at_a_host": BACK,
    "federation/test_s2s.py::"
    "test_a_server_that_refuses_our_certificate_gets_dialback": CERTIFICATE,
    "federation/test_s2s_sm.py::test_a_server_that_answers_no_ping_confirms_by_its_end": BACK,
    "federation/test_s2s_sm.py::"
    "test_what_is_not_stored_waits_behind_what_the_database_has": BACK,
    "federation/test_s2s_operate.py::test_operators_see_streams_and_close_them": BACK,
    "federation/test_mail_address.py::test_over_one_stream_of_both_directions": BACK,
}


def why_not(nodeid):
    """Why this test does not run on two nodes; None: it does."""
    return CANNOT.get("/".join(nodeid.split("/")[-2:]).partition("[")[0]) if COUNT > 1 else None
