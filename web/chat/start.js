/* start: the chat client, with the settings of the server that the page came from. */
const here = new URL(".", location.href);
const answer = await fetch(new URL("settings.json", here));
const server = await answer.json();
document.title = server.title;
if (server.encryption === "missing") explain();
else await chat();

/* The server offers no way to log in without TLS: the client would only show "no-auth-mech". */
function explain() {
  document.getElementById("no-encryption").hidden = false;
  const link = document.querySelector("#encrypted a");
  if (server.https) link.href = server.https;
  else link.parentElement.hidden = true;
}

async function chat() {
  await import("./@VERSION@/converse.min.js");
  const { directory } = await import("./directory.js");
  window.converse.plugins.add("server", {
    initialize() {
      brand(this._converse.api);
      keepResource(this._converse);
      directory(this._converse.api, server);
    },
  });
  const assets = new URL("@VERSION@", here).pathname;
  const settings = {
    allow_registration: server.registration,
    assets_path: assets,
    authentication: "login",
    auto_away: 300,
    auto_reconnect: true,
    autocomplete_providers_url: "", // a list of public servers
    default_domain: server.domain,
    discover_connection_methods: false,
    muc_nickname_from_jid: true,
    notification_icon: `${assets}/images/logo/conversejs-filled.svg`,
    providers_link: "",
    registration_domain: server.domain,
    view_mode: "fullscreen",
    whitelisted_plugins: ["server"],
    xmpp_providers_url: "",
  };
  if (server.websocket)
    settings.websocket_url = `${location.origin.replace(/^http/, "ws")}${server.websocket}`;
  if (server.bosh) settings.bosh_service_url = `${location.origin}${server.bosh}`;
  if (server.rooms) {
    settings.muc_domain = server.rooms;
    settings.muc_search_service = server.rooms;
  }
  if (server.users) settings.xhr_user_search_url = new URL("users?", here).href;
  await window.converse.initialize(settings);
}

/* After a reload the client makes up another resource and then resumes the stream of the old one
 * (XEP-0198): it would speak from an address that is not that of its session. */
function keepResource(_converse) {
  const { api } = _converse;
  api.listen.on("afterResourceBinding",
    () => _converse.session.save({ bound: api.connection.get().jid }));
  api.listen.on("setUserJID", () => {
    const { authenticated, jid } = api.connection.get();
    const bound = _converse.session.get("bound");
    if (bound && bound !== jid && !authenticated) window.converse.env.u.setUserJID(bound);
  });
}

/* The name of the organisation in place of the client's; the client's licence stays in reach. */
function brand(api) {
  const made = (fill) => class extends HTMLElement {
    connectedCallback() {
      if (!this.firstChild) this.append(...fill());
    }
  };
  const element = (name, properties) => Object.assign(document.createElement(name), properties);
  api.elements.define("converse-brand-logo", made(() => [
    ...(server.logo ? [element("img", { src: new URL(server.logo, here).href, alt: "" })] : []),
    element("span", { className: "organisation", textContent: server.title }),
  ]));
  api.elements.define("converse-controlbox-navbar", made(() => []));
  api.elements.define("converse-footer", made(() => [
    "Chat client: Converse.js. ",
    element("a", { href: new URL("@VERSION@/LICENSE.txt", here).href, target: "_blank",
      rel: "noopener", textContent: "Licence" }),
    ", ",
    element("a", { href: new URL("@VERSION@/COPYRIGHT.txt", here).href, target: "_blank",
      rel: "noopener", textContent: "copyright" }),
  ]));
}
