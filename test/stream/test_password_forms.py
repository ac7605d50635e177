"""Passwords with characters that SASLprep (RFC 4013: NFKC) and OpaqueString (RFC 8265: NFC) prepare
differently, and clients that do the one, the other, or nothing."""
import stringprep
import unicodedata

import pytest

from harness.client import until
from harness.imports import keys, server_data
from harness.server import Failed

# Compatibility characters first, which the two prepare differently.
DIFFER = "µ½²³¹´¨ªº…™ﬁⅨ①Ａ５｡ｶ㎏ſ"
AGREE = "ä€ßΩé漢\u00a0\u3000😀"
SCRAM = ["SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-512"]


def saslprep(text):
    text = "".join(" " if stringprep.in_table_c12(c) else c for c in text
                   if not stringprep.in_table_b1(c))
    return unicodedata.normalize("NFKC", text)


def opaque(text):
    return unicodedata.normalize("NFC", "".join(
        " " if unicodedata.category(c) == "Zs" else c for c in text))


CLIENTS = {"SASLprep": saslprep, "OpaqueString": opaque, "unprepared": str}


def fits(typed, word):
    """Whether what a client makes of it is one of the two that the server has keys of."""
    return word in (saslprep(typed), opaque(typed))


@pytest.mark.parametrize("client", CLIENTS)
def test_both_forms_of_a_password_log_in(make_server, client):
    """By each mechanism; the server's signature is of the form that the client has used."""
    server = make_server(settings={"auth.failures-per-address": "none"},
                         why="passwords that do not fit are tried, too")
    assert len(DIFFER + AGREE) >= 24
    for number, letter in enumerate(DIFFER + AGREE):
        typed = f"5{letter}m!"
        assert (saslprep(typed) != opaque(typed)) == (letter in DIFFER), letter
        server.add_user(f"u{number}", typed)
        word = CLIENTS[client](typed)
        for mechanism in ["PLAIN", *SCRAM]:
            right = mechanism == "PLAIN" or fits(typed, word)
            found = server.connect(f"u{number}", password=word).authenticate(mechanism)
            assert found == (None if right else "not-authorized"), (letter, mechanism)
        assert server.connect(f"u{number}", password=word + "!").authenticate(
            SCRAM[2]) == "not-authorized"
    with server.database(read_only=True) as db:  # nothing more where they agree
        assert db.execute("SELECT count(*) FROM credential WHERE length(other_stored) > 0"
                          ).fetchone() == (3 * len(DIFFER),)


@pytest.mark.parametrize("form", [saslprep, opaque])
def test_keys_of_either_form_from_another_server(server, load, make_server, tmp_path, form):
    """How that one prepared the password is not known: PLAIN tries both, and makes keys of both.
    They go along to another server of this kind."""
    typed = "5µm!"
    load(server_data(f"<user name='ann'>{keys(form(typed))}</user>"))

    def by(host, mechanism, word):
        return host.connect("ann", password=word).authenticate(mechanism)
    assert by(server, "SCRAM-SHA-1", form(typed)) is None
    assert by(server, "PLAIN", "5um!") == "not-authorized"
    assert by(server, "PLAIN", typed) is None
    until("the strong hash", lambda: "SCRAM-SHA-512" in server.connect().mechanisms)
    other, file = make_server(), tmp_path / "out.xml"
    server.ctl("export", "xep0227", str(file), "localhost")
    other.bring("xep0227", str(file))
    for host in server, other:
        for word in saslprep(typed), opaque(typed):
            assert by(host, "SCRAM-SHA-512", word) is None, word


@pytest.mark.parametrize("letter,name,goes", [  # whether SASLprep leaves it out
    ("\ufe0f", "U+FE0F VARIATION SELECTOR-16", True),
    ("\u200d", "U+200D ZERO WIDTH JOINER", True), ("\u00ad", "U+00AD SOFT HYPHEN", True),
    ("\u0378", "U+0378 <unassigned-0378>", False)])
def test_a_password_that_is_refused_names_the_character(server, letter, name, goes):
    with pytest.raises(Failed, match="the password has the character " + name.replace("+", "[+]")):
        server.add_user("zoe", f"pass{letter}word")
    server.add_user("zoe", "password")
    found = server.connect("zoe", password=f"pass{letter}word").authenticate("PLAIN")
    assert found == (None if goes else "not-authorized")
