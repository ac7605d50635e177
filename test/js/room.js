/* room: xmpp.js makes a room, waits until a peer is there and has spoken, answers, changes the
 * subject, makes the peer a member, leaves; each thing that happens is printed as one JSON line.
 *
 *     node room.js SERVICE DOMAIN USER PASSWORD ROOM
 */
import { client, xml } from "@xmpp/client";

const MUC = "http://jabber.org/protocol/muc";
const [service, domain, username, password, room] = process.argv.slice(2);
const say = (event, fields = {}) => console.log(JSON.stringify({ event, ...fields }));
const xmpp = client({ service, domain, username, password, resource: "js" });
const nickOf = (stanza) => stanza.attrs.from.slice(room.length + 1);
const request = (type, query) => xmpp.iqCaller.request(xml("iq", { type, to: room }, query));
const toRoom = (...children) =>
  xmpp.send(xml("message", { to: room, type: "groupchat", id: "m1" }, ...children));

async function entered(codes) {
  say("entered", { codes });
  await request(
    "set",
    xml("query", `${MUC}#owner`, xml("x", { xmlns: "jabber:x:data", type: "submit" })),
  );
  say("open");
}

async function answer(nick, jid, body) {
  say("heard", { nick, body });
  await toRoom(xml("subject", {}, "Spells"));
  const item = xml("item", { jid, affiliation: "member" }, xml("reason", {}, "worthy"));
  await request("set", xml("query", `${MUC}#admin`, item));
  const list = await request("get", xml("query", `${MUC}#admin`, xml("item", { affiliation: "member" })));
  say("members", { jids: list.getChild("query").getChildren("item").map((i) => i.attrs.jid) });
  await toRoom(xml("body", {}, `hello ${nick}`));
}

const peers = {};
xmpp.on("error", (error) => {
  say("error", { text: String(error) });
  process.exit(1);
});
xmpp.on("stanza", async (stanza) => {
  if (!stanza.attrs.from?.startsWith(room)) return;
  const x = stanza.getChild("x", `${MUC}#user`);
  const codes = x ? x.getChildren("status").map((s) => s.attrs.code) : [];
  if (stanza.is("presence") && codes.includes("110") && stanza.attrs.type === "unavailable") {
    say("left");
    await xmpp.stop();
  } else if (stanza.is("presence") && codes.includes("110")) {
    await entered(codes);
  } else if (stanza.is("presence") && x) {
    const item = x.getChild("item").attrs;
    peers[nickOf(stanza)] = item.jid.split("/")[0];
    say("peer", { nick: nickOf(stanza), affiliation: item.affiliation, role: item.role });
  } else if (stanza.is("message") && stanza.getChild("body") && nickOf(stanza) === "js") {
    say("reflected", { id: stanza.attrs.id });
    await xmpp.send(xml("presence", { to: `${room}/js`, type: "unavailable" }));
  } else if (stanza.is("message") && stanza.getChild("body")) {
    await answer(nickOf(stanza), peers[nickOf(stanza)], stanza.getChildText("body"));
  }
});
xmpp.on("online", async () => {
  await xmpp.send(xml("presence"));
  await xmpp.send(xml("presence", { to: `${room}/js` }, xml("x", MUC)));
});
xmpp.on("offline", () => {
  say("offline");
  process.exit(0);
});

// start() itself misses an answer that comes before its write is reported done
xmpp.start().catch(() => {});
