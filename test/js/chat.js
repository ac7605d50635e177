/* chat: xmpp.js logs in, says hello to a peer, and prints each thing that happens as one JSON line.
 *
 *     node chat.js SERVICE DOMAIN USER PASSWORD PEER
 */
import { client, xml } from "@xmpp/client";
import "./browser.js";

const [service, domain, username, password, peer] = process.argv.slice(2);
const say = (event, fields = {}) => console.log(JSON.stringify({ event, ...fields }));
const xmpp = client({ service, domain, username, password, resource: "js" });

xmpp.on("error", (error) => {
  say("error", { text: String(error) });
  process.exit(1);
});
xmpp.on("stanza", async (stanza) => {
  if (!stanza.is("message") || !stanza.getChild("body")) return;
  say("message", { from: stanza.attrs.from, body: stanza.getChildText("body") });
  await xmpp.stop();
});
xmpp.on("online", async (jid) => {
  say("online", { jid: jid.toString() });
  await xmpp.send(xml("presence"));
  const pong = await xmpp.iqCaller.request(
    xml("iq", { type: "get", to: domain }, xml("ping", "urn:xmpp:ping")),
  );
  say("pong", { type: pong.attrs.type });
  await xmpp.send(xml("message", { to: peer, type: "chat" }, xml("body", {}, "hello from xmpp.js")));
});
xmpp.on("offline", () => {
  say("offline");
  process.exit(0);
});

// start() itself misses an answer that comes before its write is reported done
xmpp.start().catch(() => {});
