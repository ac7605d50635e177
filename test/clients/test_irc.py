"""A gateway to IRC as it comes from its authors, attached as a component: biboumi and ngircd."""
import pytest

from harness import federation, irc, xml
from harness.client import until
from harness.server import free_ports

pytestmark = pytest.mark.skipif(not irc.are_here(), reason="no biboumi, or no ngircd")

GATEWAY, SECRET, HOST = "irc.example.test", "a rather long secret", "127.0.0.1"
CHANNEL = f"#tea%{HOST}@{GATEWAY}"
MUC = "http://jabber.org/protocol/muc"
COMMANDS = "http://jabber.org/protocol/commands"


class Place:
    """Our server with the gateway, and an IRC server."""

    def __init__(self, server, folder):
        self.server, self.folder = server, folder
        port, = free_ports(1)
        self.irc = irc.IrcServer(folder, port)
        self.users = []
        server.ctl("component", "add", GATEWAY, "--secret", SECRET)
        self.start_gateway()

    def start_gateway(self):
        self.gateway = irc.Gateway(self.folder, GATEWAY, SECRET,
                                   self.server.port("component", GATEWAY))

    def user(self, nick):
        user = irc.IrcUser(self.irc.port, nick)
        self.users.append(user)
        return user

    def finish(self):
        for user in self.users:
            user.close()
        self.gateway.finish()
        self.irc.finish()


@pytest.fixture
def place(make_server, tmp_path):
    place = Place(make_server("alice", "bob", component=True), tmp_path)
    yield place
    place.finish()


def wait_gateway(client):
    """Until the gateway is attached: it says who it is."""
    def here():
        client.send(f"<iq type='get' id='who' to='{GATEWAY}'>"
                    f"<query xmlns='{xml.DISCO_INFO}'/></iq>")
        return client.expect("<iq id='who'/>").get("type") == "result"
    until("the gateway", here)


def configure(client, place):
    """The port of the IRC server, in the form of the gateway (XEP-0050, XEP-0004); and no pauses
    between lines."""
    server = f"{HOST}@{GATEWAY}"
    command = client.result("set", f"<command xmlns='{COMMANDS}' node='configure' "
                                   "action='execute'/>", to=server)
    assert command.get("status") == "executing"
    done = client.result(
        "set", f"<command xmlns='{COMMANDS}' node='configure' "
               f"sessionid='{command.get('sessionid')}'><x xmlns='jabber:x:data' type='submit'>"
               f"<field var='ports'><value>{place.irc.port}</value></field>"
               "<field var='tls_ports'/><field var='throttle_limit'><value>-1</value></field></x>"
               "</command>", to=server)
    assert done.get("status") == "completed"


def join(client, nick):
    client.send(f"<presence to='{CHANNEL}/{nick}'><x xmlns='{MUC}'/></presence>")
    client.expect(f"<presence from='{CHANNEL}/{nick}'><x xmlns='{MUC}#user'>"
                  "<status code='110'/></x></presence>")


@pytest.fixture
def channel(place):
    """alice, who has joined the channel, and carol of IRC, who is in it."""
    carol = place.user("carol")
    carol.say("JOIN #tea")
    carol.expect(" 366 ")
    alice = place.server.client("alice")
    alice.send("<presence/>")
    wait_gateway(alice)
    configure(alice, place)
    join(alice, "alice")
    carol.expect("JOIN")
    return place, alice, carol


def test_a_channel_is_a_room(channel):
    place, alice, carol = channel
    alice.send(f"<message to='{CHANNEL}' type='groupchat' id='m1'><body>tea &amp; cake</body>"
               "</message>")
    assert carol.expect("PRIVMSG").endswith("#tea :tea & cake")
    alice.expect(f"<message from='{CHANNEL}/alice' type='groupchat'><body>tea &amp; cake</body>"
                 "</message>")
    carol.say("PRIVMSG #tea :with milk < and > sugar")
    alice.expect(f"<message from='{CHANNEL}/carol' type='groupchat'>"
                 "<body>with milk &lt; and &gt; sugar</body></message>")
    carol.say("TOPIC #tea :five o'clock")
    alice.expect(f"<message from='{CHANNEL}/carol' type='groupchat'><subject>five o'clock"
                 "</subject></message>")
    carol.say("PRIVMSG alice :a word")
    heard = alice.expect("<message type='chat'><body>a word</body></message>")
    alice.send(f"<message to='{heard.get('from')}' type='chat'><body>two words</body></message>")
    assert carol.expect("PRIVMSG carol").endswith(":two words")


def test_occupants_come_and_go(channel):
    place, alice, carol = channel
    dave = place.user("dave")
    dave.say("JOIN #tea")
    alice.expect(f"<presence from='{CHANNEL}/dave'/>")
    dave.say("NICK david")
    alice.expect(f"<presence type='unavailable' from='{CHANNEL}/dave'><x xmlns='{MUC}#user'>"
                 "<status code='303'/></x></presence>")
    dave.say("PART #tea :bye")
    alice.expect(f"<presence type='unavailable' from='{CHANNEL}/david'/>")
    bob = place.server.client("bob")
    bob.send("<presence/>")
    configure(bob, place)
    join(bob, "bob")
    alice.expect(f"<presence from='{CHANNEL}/bob'/>")
    bob.close()  # a client that is lost leaves the channel, too
    carol.expect("QUIT", "PART")
    alice.expect(f"<presence type='unavailable' from='{CHANNEL}/bob'/>")


def test_a_user_of_another_server_joins_the_channel(make_server, tmp_path):
    """The gateway federates under its own domain, by the links of its server."""
    authority, servers = federation.Authority(tmp_path), []
    for domain, user, *more in ("one.test", "alice", GATEWAY), ("other.test", "bob"):
        tls = {**authority.issue(domain, domain, *more), "trust": str(authority.file)}
        servers.append(make_server(user, domains=[domain], s2s=True, tls=tls, component=True,
                                   settings=federation.settings()))
    one, other = servers
    federation.route(one, "other.test", other.s2s_port)
    federation.route(other, GATEWAY, one.s2s_port)
    place = Place(one, tmp_path)
    try:
        carol = place.user("carol")
        carol.say("JOIN #tea")
        carol.expect(" 366 ")
        bob = other.client("bob")
        wait_gateway(bob)
        configure(bob, place)
        join(bob, "bob")
        carol.expect("JOIN")
        bob.send(f"<message to='{CHANNEL}' type='groupchat' id='m1'><body>from afar</body>"
                 "</message>")
        assert carol.expect("PRIVMSG").endswith("#tea :from afar")
        carol.say("PRIVMSG #tea :welcome")
        bob.expect(f"<message from='{CHANNEL}/carol' type='groupchat'><body>welcome</body>"
                   "</message>")
        bob.close()
        carol.expect("QUIT", "PART")
    finally:
        place.finish()


def test_the_gateway_ends_and_comes_back(channel):
    place, alice, carol = channel
    place.gateway.finish()
    carol.expect("QUIT")
    alice.send(f"<message to='{CHANNEL}' type='groupchat' id='lost'><body>?</body></message>")
    alice.expect_error("remote-server-timeout", template="<message type='error' id='lost'/>")
    place.start_gateway()
    wait_gateway(alice)
    join(alice, "alice")  # with the settings that it has kept
    carol.expect("JOIN")


@pytest.mark.parametrize("end", [lambda server: server.stop(), lambda server: server.kill()],
                         ids=["stop", "kill"])
def test_users_whose_sessions_end_with_the_server_leave_the_channel(channel, end):
    place, alice, carol = channel
    end(place.server)
    place.server.start()
    carol.expect("QUIT", "PART")
