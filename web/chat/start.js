/* start: the chat client with the addresses of the server that the page came from. */
import "./@VERSION@/converse.min.js";

const here = new URL(".", location.href);
const answer = await fetch(new URL("settings.json", here));
const { domain, rooms, websocket, bosh } = await answer.json();
const settings = {
  assets_path: new URL("@VERSION@", here).pathname,
  authentication: "login",
  auto_away: 300,
  auto_reconnect: true,
  default_domain: domain,
  discover_connection_methods: false,
  muc_nickname_from_jid: true,
  view_mode: "fullscreen",
};
if (websocket) settings.websocket_url = `${location.origin.replace(/^http/, "ws")}${websocket}`;
if (rooms) settings.muc_domain = rooms;
if (bosh) settings.bosh_service_url = `${location.origin}${bosh}`;
await window.converse.initialize(settings);
