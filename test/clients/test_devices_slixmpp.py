"""Several devices with slixmpp: its plugins for carbons, client state and extended addressing."""
import asyncio

from harness.slix import Slix


async def test_carbons(server):
    """XEP-0280."""
    phone = Slix(server, "alice", ["xep_0280"])
    phone.watch("carbon_received", "carbon_sent")
    await phone.login()
    await phone["xep_0280"].enable()
    laptop, bob = server.client("alice", "laptop"), server.client("bob", "b")
    bob.send(f"<message to='{laptop}' type='chat'><body>question</body></message>")
    copy = await phone.expect("carbon_received")
    assert copy["carbon_received"]["body"] == "question"
    assert copy["carbon_received"]["from"] == str(bob)
    laptop.send(f"<message to='{bob}' type='chat'><body>answer</body></message>")
    copy = await phone.expect("carbon_sent")
    assert copy["carbon_sent"]["body"] == "answer"
    await phone["xep_0280"].disable()
    laptop.send(f"<message to='{bob}' type='chat'><body>more</body></message>")
    laptop.send(f"<message to='{phone.boundjid}' type='chat'><body>last</body></message>")
    assert (await phone.message())["body"] == "last"
    assert "carbon_sent" not in {event for event, _ in phone.inbox}
    await phone.disconnect()


async def test_a_client_that_tries_mechanisms_in_turn_warns_nobody(server):
    """slixmpp as it is begins with channel bindings that it does not have, and ends with PLAIN."""
    await (await Slix(server, "alice", mechanism=None).login()).disconnect()
    lines = [line for line in server.log().splitlines() if "event=auth." in line]
    assert [line.partition("event=")[2].split()[0] for line in lines] == ["auth.retried", "auth.ok"]
    assert all("level=info" in line for line in lines), lines


async def test_client_state(server):
    """XEP-0352: presence while inactive comes with the next message, its last state only."""
    phone = await Slix(server, "alice", ["xep_0352"]).login()
    shown = [f"presence_{show}" for show in ("away", "xa", "dnd")]
    phone.watch(*shown)
    bob = server.client("bob", "b")
    phone["xep_0352"].send_inactive()
    await phone.get_roster()  # the server has read it
    for show in ("away", "xa", "dnd"):
        bob.send(f"<presence to='{phone.boundjid}'><show>{show}</show></presence>")
    bob.send(f"<message to='{phone.boundjid}' type='chat'><body>hi</body></message>")
    assert (await phone.message())["body"] == "hi"
    await phone.expect("presence_dnd")
    assert not {event for event, _ in phone.inbox} & set(shown)
    phone["xep_0352"].send_active()
    await phone.disconnect()


async def test_extended_addressing(server):
    """XEP-0033."""
    alice = await Slix(server, "alice", ["xep_0033"]).login()
    bob, carol = server.client("bob", "b"), server.client("carol", "c")
    info = await alice["xep_0030"].get_info("localhost")
    assert "http://jabber.org/protocol/address" in info["disco_info"]["features"]
    message = alice.make_message("localhost", "to both", mtype="normal")
    message["addresses"].add_address(atype="to", jid="bob@localhost", desc="Bob")
    message["addresses"].add_address(atype="bcc", jid="carol@localhost")
    message.send()
    for client in (bob, carol):
        await asyncio.to_thread(
            client.expect, f"<message from='{alice.boundjid}'><body>to both</body></message>")
    await alice.disconnect()
