/* strophe: Strophe.js logs in over BOSH or WebSocket, says hello to a peer, and prints each thing
 * that happens as one JSON line.
 *
 *     node strophe.js SERVICE JID PASSWORD PEER
 */
import XMLHttpRequest from "xhr2";

globalThis.XMLHttpRequest = XMLHttpRequest; // Node has none
const { Strophe, $iq, $msg, $pres } = await import("strophe.js");
Object.defineProperty(XMLHttpRequest.prototype, "responseXML", {
  get() {
    return this.responseText
      ? new DOMParser().parseFromString(this.responseText, "application/xml")
      : null;
  },
});

const [service, jid, password, peer] = process.argv.slice(2);
const domain = Strophe.getDomainFromJid(jid);
const say = (event, fields = {}) => console.log(JSON.stringify({ event, ...fields }));
const connection = new Strophe.Connection(service);
Strophe.setLogLevel(Strophe.LogLevel.FATAL);

const online = () => {
  say("online", { jid: connection.jid });
  connection.addHandler((stanza) => {
    const body = stanza.getElementsByTagName("body")[0];
    if (!body) return true;
    say("message", { from: stanza.getAttribute("from"), body: body.textContent });
    connection.disconnect();
    return false;
  }, null, "message");
  connection.send($pres());
  connection.sendIQ($iq({ type: "get", to: domain }).c("ping", { xmlns: "urn:xmpp:ping" }),
    (pong) => {
      say("pong", { type: pong.getAttribute("type") });
      connection.send($msg({ to: peer, type: "chat" }).c("body").t("hello from strophe.js"));
    });
};

connection.connect(jid, password, (status, condition) => {
  if (status === Strophe.Status.CONNECTED) online();
  if (status === Strophe.Status.DISCONNECTED) {
    say("offline");
    process.exit(0);
  }
  if ([Strophe.Status.CONNFAIL, Strophe.Status.AUTHFAIL, Strophe.Status.ERROR].includes(status)) {
    say("error", { text: String(condition) });
    process.exit(1);
  }
});
