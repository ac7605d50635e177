"""Roles, access tokens, and accounts with a role: who may run what."""

import re

import pytest

from muster import rows

NS = "http://jabber.org/protocol/commands"


def run(client, node, **fields):
    """One ad-hoc command with its form; the condition of the error, or None, and the words."""
    form = "".join(f"<field var='{k}'><value>{v}</value></field>" for k, v in fields.items())
    x = f"<x xmlns='jabber:x:data' type='submit'>{form}</x>" if form else ""
    first = client.iq("set", f"<command xmlns='{NS}' node='{node}' action='execute'/>",
                      to="localhost")
    command = first.find(f"{{{NS}}}command")
    if command is not None and command.get("status") == "executing":
        first = client.iq("set", f"<command xmlns='{NS}' node='{node}' "
                          f"sessionid='{command.get('sessionid')}' action='complete'>{x}</command>",
                          to="localhost")
    words = " ".join(first.itertext())
    error = first.find(".//{jabber:client}error")
    return (None if error is None else error[0].tag.split("}")[1]), words


def test_roles_are_listed(server):
    names = {r["name"] for r in server.ctl("role", "list")["rows"]}
    assert {"administrator", "operator", "help-desk", "auditor", "viewer"} <= names
