/* directory: what Converse.js asks of public services, answered by this server on the user's own
 * stream. Rooms are those that the room service lists (XEP-0030); users are found by name, nickname
 * and email address (XEP-0055). */
const SEARCH_ROOMS = "https://xmlns.zombofant.net/muclumbus/search/1.0";
const ROWS_MAX = 10;

export function directory(api, server) {
  const { $iq, Strophe, stx, sizzle } = window.converse.env;
  const send = api.sendIQ.bind(api);
  const asked = Strophe.getNodeFromJid ? new Map() : null; // rooms, for a minute

  async function rooms() {
    const known = asked.get(server.rooms);
    if (known && known.until > Date.now()) return known.items;
    const iq = $iq({ type: "get", to: server.rooms })
      .c("query", { xmlns: Strophe.NS.DISCO_ITEMS });
    const items = sizzle("query > item", await send(iq)).map((item) => ({
      address: item.getAttribute("jid"),
      name: item.getAttribute("name") ?? Strophe.getNodeFromJid(item.getAttribute("jid")),
    }));
    asked.set(server.rooms, { items, until: Date.now() + 60000 });
    return items;
  }

  async function searchRooms(query) {
    const word = query.toLowerCase();
    const found = (await rooms().catch(() => []))
      .filter(({ address, name }) => `${name} ${address}`.toLowerCase().includes(word))
      .slice(0, ROWS_MAX);
    return stx`<iq type="result" xmlns="jabber:client"><result xmlns="${SEARCH_ROOMS}">
      ${found.map(({ address, name }) =>
        stx`<item address="${address}"><name>${name}</name></item>`)}
      </result></iq>`.tree();
  }

  api.sendIQ = (stanza, ...rest) => {
    const tree = stanza instanceof Element ? stanza : stanza.tree();
    const search = sizzle(`search[xmlns="${SEARCH_ROOMS}"]`, tree)[0];
    if (!search) return send(tree, ...rest);
    return searchRooms(sizzle('field[var="q"] value', search)[0]?.textContent ?? "");
  };

  async function searchField(field, word) {
    const iq = $iq({ type: "set", to: server.users })
      .c("query", { xmlns: "jabber:iq:search" }).c(field, {}, word);
    return sizzle("query > item", await send(iq)).map((item) => {
      const text = (name) => item.querySelector(name)?.textContent ?? "";
      const jid = item.getAttribute("jid");
      const fullname = `${text("first")} ${text("last")}`.trim() || text("nick");
      return { jid, fullname: fullname || Strophe.getNodeFromJid(jid) };
    });
  }

  async function searchUsers(word) {
    const asked = ["first", "last", "nick", "email"]
      .map((field) => searchField(field, word).catch(() => []));
    const found = new Map((await Promise.all(asked)).flat().map((one) => [one.jid, one]));
    return [...found.values()].slice(0, ROWS_MAX);
  }

  if (!server.users) return;
  const users = new URL("users?", location.href).href;
  const net = window.fetch.bind(window);
  window.fetch = async (resource, options) => {
    const url = String(resource?.url ?? resource);
    if (!url.startsWith(users)) return net(resource, options);
    const word = new URL(url).searchParams.get("q") ?? "";
    return new Response(JSON.stringify(await searchUsers(word.trim())));
  };

  /* The form for a contact takes "Name <address>" alone: an address that was typed gets a name. */
  document.addEventListener("submit", ({ target }) => {
    const input = target.matches("form.add-xmpp-contact") && target.querySelector("input[name=jid]");
    if (!input || input.value.includes("<")) return;
    const typed = input.value.trim();
    const address = typed.includes("@") ? typed : `${typed}@${server.domain}`;
    if (typed) input.value = `${Strophe.getNodeFromJid(address)} <${address}>`;
  }, true);
}
