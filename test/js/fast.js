/* fast: xmpp.js logs in twice, by password and then by the token that it got (XEP-0484), and prints
 * what it asked for and how it was answered, one JSON line each.
 *
 *     node fast.js SERVICE DOMAIN USER PASSWORD
 */
import { client, xml } from "@xmpp/client";
import "./browser.js";

const [service, domain, username, password] = process.argv.slice(2);
const say = (event, fields = {}) => console.log(JSON.stringify({ event, ...fields }));
const userAgent = xml("user-agent", { id: "d4565fa7-4d72-4749-b3d3-740edbf87770" }, [
  xml("software", {}, "xmpp.js"),
]);
let token;

function connect() {
  const xmpp = client({ service, domain, username, password, resource: "js", userAgent });
  xmpp.reconnect.stop();
  xmpp.fast.saveToken = async (fresh) => (token = fresh);
  xmpp.fast.fetchToken = async () => token;
  xmpp.on("error", (error) => {
    say("error", { text: String(error) });
    process.exit(1);
  });
  xmpp.on("send", (element) => {
    if (element.name !== "authenticate") return;
    say("authenticate", { mechanism: element.attrs.mechanism });
  });
  xmpp.on("nonza", (element) => {
    if (element.name !== "success") return;
    const bound = element.getChild("bound", "urn:xmpp:bind:0");
    say("success", {
      bound: Boolean(bound),
      enabled: Boolean(bound?.getChild("enabled", "urn:xmpp:sm:3")),
      token: Boolean(element.getChild("token", "urn:xmpp:fast:0")),
    });
  });
  return xmpp;
}

for (const turn of [1, 2]) {
  const xmpp = connect();
  // start() itself misses an answer that comes before its write is reported done
  const online = new Promise((resolve) => xmpp.once("online", resolve));
  xmpp.start().catch(() => {});
  const jid = await online;
  const pong = await xmpp.iqCaller.request(
    xml("iq", { type: "get", to: domain }, xml("ping", "urn:xmpp:ping")),
  );
  say("online", { turn, jid: jid.toString(), pong: pong.attrs.type });
  await xmpp.stop();
}
process.exit(0);
