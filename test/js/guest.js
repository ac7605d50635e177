/* guest: xmpp.js is a guest in a room: it enters, asks whether it is there, writes to one, takes
 * another nickname, writes to nobody, and is thrown out; each thing that happens is printed as one
 * JSON line.
 *
 *     node guest.js SERVICE DOMAIN USER PASSWORD ROOM HOST
 */
import { client, xml } from "@xmpp/client";

const MUC = "http://jabber.org/protocol/muc";
const [service, domain, username, password, room, host] = process.argv.slice(2);
const say = (event, fields = {}) => console.log(JSON.stringify({ event, ...fields }));
const xmpp = client({ service, domain, username, password, resource: "js" });
const nickOf = (stanza) => stanza.attrs.from.slice(room.length + 1);

/* XEP-0410: whether a nickname is still one's own. */
async function ping(nick) {
  const request = xml("iq", { type: "get", to: `${room}/${nick}` }, xml("ping", "urn:xmpp:ping"));
  try {
    await xmpp.iqCaller.request(request);
    say("ping", { here: true });
  } catch (error) {
    say("ping", { here: false, condition: error.condition });
  }
}

async function entered() {
  say("entered");
  await ping("guest");
  await xmpp.send(
    xml(
      "message",
      { to: `${room}/${host}`, type: "chat" },
      xml("body", {}, "between us"),
      xml("x", `${MUC}#user`),
    ),
  );
}

/* After the answer: another name, and then a message to nobody. */
async function answered(stanza) {
  say("whispered", { nick: nickOf(stanza), body: stanza.getChildText("body") });
  await xmpp.send(xml("presence", { to: `${room}/friend` }));
}

async function renamed() {
  say("renamed");
  await xmpp.send(
    xml("message", { to: `${room}/nobody`, type: "chat" }, xml("body", {}, "are you there?")),
  );
}

xmpp.on("error", (error) => {
  say("error", { text: String(error) });
  process.exit(1);
});
xmpp.on("stanza", async (stanza) => {
  if (!stanza.attrs.from?.startsWith(room)) return;
  const x = stanza.getChild("x", `${MUC}#user`);
  const codes = x ? x.getChildren("status").map((s) => s.attrs.code) : [];
  const leaves = stanza.attrs.type === "unavailable";
  if (stanza.is("presence") && codes.includes("110") && codes.includes("307")) {
    const item = x.getChild("item");
    say("kicked", { by: item.getChild("actor").attrs.nick, reason: item.getChildText("reason") });
    await ping("friend");
    await xmpp.stop();
  } else if (stanza.is("presence") && codes.includes("110") && !leaves) {
    await (nickOf(stanza) === "guest" ? entered() : renamed());
  } else if (stanza.is("message") && stanza.attrs.type === "error") {
    say("refused", { condition: stanza.getChild("error").children[0].name });
    await xmpp.send(
      xml("message", { to: room, type: "groupchat" }, xml("body", {}, "throw me out")),
    );
  } else if (stanza.is("message") && stanza.attrs.type === "chat") {
    await answered(stanza);
  }
});
xmpp.on("online", async () => {
  await xmpp.send(xml("presence"));
  await xmpp.send(xml("presence", { to: `${room}/guest` }, xml("x", MUC)));
});
xmpp.on("offline", () => {
  say("offline");
  process.exit(0);
});

// start() itself misses an answer that comes before its write is reported done
xmpp.start().catch(() => {});
