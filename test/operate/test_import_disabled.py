"""Accounts that are banned or disabled on the old server come in disabled, and are named."""
import pytest

from harness import prosody
from harness.imports import prosody_file, server_data
from operate.test_import_dump import HEAD

NAMES = "open", "shut"
BAN = "<banned xmlns='jabber:ejabberd:banned'><reason>spam</reason><bandate>{}</bandate></banned>"
DATE = "2024-06-11T10:00:00Z"


def dump(folder):
    """As the command ban_account of ejabberd 24.06 leaves it."""
    rows = [f'{{passwd,{{<<"{n}">>,<<"localhost">>}},<<"x">>}}.' for n in NAMES]
    ban = (f'{{xmlel,<<"banned">>,[{{<<"xmlns">>,<<"jabber:ejabberd:banned">>}}],'
           f'[{{xmlel,<<"bandate">>,[],[{{xmlcdata,<<"{DATE}">>}}]}}]}}')
    rows.append('{private_storage,{<<"shut">>,<<"localhost">>,<<"jabber:ejabberd:banned">>},'
                f'{ban}}}.')
    (folder / "dump.txt").write_text("\n".join([HEAD, *rows]) + "\n")
    return "ejabberd", folder / "dump.txt"


def piefxis(folder):
    """The same by export_piefxis."""
    private = f"<query xmlns='jabber:iq:private'><n xmlns='urn:n'/>{BAN.format(DATE)}</query>"
    (folder / "a.xml").write_text(server_data(*(
        f"<user name='{n}' password='x'>{private if n == 'shut' else ''}</user>" for n in NAMES)))
    return "ejabberd", folder / "a.xml"


def files(folder):
    for n in NAMES:
        more = ' ["disabled"] = true;' if n == "shut" else ""
        prosody_file(folder, "localhost", "accounts", f"{n}.dat",
                     f'return {{ ["password"] = "x";{more} }};')
    return "prosody", folder


def sql(folder):
    keys = [prosody.account_in_sql("localhost", n, "x") for n in NAMES]
    prosody.sql_file(folder / "prosody.sqlite", [
        *keys, ("localhost", "shut", "accounts", "disabled", "boolean", "true"),
        ("localhost", "open", "accounts", "disabled", "boolean", "false")])
    return "prosody", folder


@pytest.mark.parametrize("source", [dump, piefxis, files, sql])
def test_who_is_shut_out_there_is_shut_out_here(server, tmp_path, source):
    (tmp_path / "there").mkdir()
    kind, path = source(tmp_path / "there")
    for more in ["--dry-run"], []:
        answer = server.bring(kind, str(path), *more)
        assert [row["user"] for row in answer["rows"]] == ["shut@localhost"]
        assert answer["rows"][0]["what"].startswith("is disabled, as it was there")
        assert answer["text"].endswith("what does not come along: 0; disabled: 1")
    server.login("open", password="x").close()
    with pytest.raises(Exception, match="account-disabled"):
        server.login("shut", password="x")
    # when it is enabled here, nothing of the ban is left that could come back by another import
    server.ctl("user", "enable", "shut@localhost")
    server.login("shut", password="x").close()
    file = tmp_path / "out.xml"
    server.ctl("export", "xep0227", str(file))
    assert "banned" not in file.read_text()
