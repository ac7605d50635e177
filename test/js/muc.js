/* muc: what the tests of rooms (XEP-0045) use: people with xmpp.js, who ask, say and hear, and
 * rooms. The server is named by the environment: MUSTER_SERVICE (xmpps: or wss:) and MUSTER_DOMAIN.
 * People have the password `secret`. Nothing waits longer than MUSTER_TIMEOUT seconds, and nothing
 * sleeps.
 *
 *     const [alice, bob] = cast("alice", "bob");
 *     test("§7.4 ...", async () => {
 *       const room = await Room.open(alice);           // alice is its owner, `firstwitch`
 *       await room.enter(bob);                         // `secondwitch`
 *       await room.say(bob, "Eye of newt");
 *       await room.heard(alice, bob, "Eye of newt");
 *     });
 */
import assert from "node:assert/strict";
import { after, before } from "node:test";
import { client, xml } from "@xmpp/client";
import "./browser.js";

export { xml };
export const MUC = "http://jabber.org/protocol/muc";
export const USER = `${MUC}#user`;
const ADMIN = `${MUC}#admin`;
const OWNER = `${MUC}#owner`;
const DATA = "jabber:x:data";
export const REGISTER = "jabber:iq:register";
const DISCO_INFO = "http://jabber.org/protocol/disco#info";
const DOMAIN = process.env.MUSTER_DOMAIN ?? "localhost";
const SERVICE = `conference.${DOMAIN}`;

const TIMEOUT = 1000 * Number(process.env.MUSTER_TIMEOUT ?? "10");
const NICKS = { alice: "firstwitch", bob: "secondwitch", carol: "thirdwitch", dave: "oldhag" };
let rooms = 0;

/* One session. What arrives waits in the inbox until somebody asks for it. */
class Client {
  constructor(name) {
    this.name = name;
    this.nick = NICKS[name];
    this.bare = `${name}@${DOMAIN}`;
    this.inbox = [];
    this.waiting = null;
    this.xmpp = client({
      service: process.env.MUSTER_SERVICE,
      domain: DOMAIN,
      username: name,
      password: "secret",
      resource: "js",
    });
    this.xmpp.reconnect.stop();
    this.xmpp.on("connect", () => this.xmpp.socket.socket.setNoDelay?.()); // it waits for no answer
    this.xmpp.on("stanza", (stanza) => {
      if (stanza.is("iq")) return; // xmpp.js answers these, and gives us what we asked for
      this.inbox.push(stanza);
      this.waiting?.();
    });
  }

  async login() {
    const online = new Promise((resolve, reject) => {
      this.xmpp.once("online", resolve);
      this.xmpp.once("error", reject);
    });
    // start() itself misses an answer that comes before its write is reported done
    this.xmpp.start().catch(() => {});
    this.jid = (await online).toString();
    this.xmpp.on("error", (error) => console.error(`${this.name}: ${error}`));
    await this.send(xml("presence"));
    return this;
  }

  async logout() {
    await this.xmpp.stop();
  }

  send(stanza) {
    return this.xmpp.send(stanza);
  }

  /* The payload of the answer; an error is thrown, with `condition` and `type`. */
  async iq(type, to, payload) {
    const stanza = xml("iq", { type, to }, payload);
    const { iqCaller } = this.xmpp;
    const request = iqCaller.request(stanza, TIMEOUT);
    // it looks at the answer when its write is reported done, which may be later
    iqCaller.handlers.get(stanza.attrs.id).promise.catch(() => {});
    return (await request).getChildElements()[0];
  }

  /* The first stanza that fits, of those that came and were not asked for yet, or that come. */
  async next(what, fits) {
    const deadline = Date.now() + TIMEOUT;
    for (;;) {
      const at = this.inbox.findIndex(fits);
      if (at >= 0) return this.inbox.splice(at, 1)[0];
      if (!(await this.#arrival(deadline - Date.now())))
        assert.fail(`${this.name} waits for ${what} and has\n  ${this.inbox.join("\n  ")}`);
    }
  }

  /* Whether something came within so many milliseconds. */
  #arrival(ms) {
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.#done(resolve, false), ms);
      this.waiting = () => {
        clearTimeout(timer);
        this.#done(resolve, true);
      };
    });
  }

  #done(resolve, came) {
    this.waiting = null;
    resolve(came);
  }
}

/* People who are there for all tests of a file. */
export function cast(...names) {
  const people = names.map((name) => new Client(name));
  before(() => Promise.all(people.map((person) => person.login())));
  after(() => Promise.all(people.map((person) => person.logout())));
  return people;
}

/* "condition type" of the error with which something fails, as it must. */
export async function refusal(promise) {
  const answer = await promise.then(
    (value) => assert.fail(`not refused: ${value}`),
    (error) => error,
  );
  if (!answer.condition) throw answer;
  return `${answer.condition} ${answer.type}`;
}

/* "condition type" of the error that a stanza carries. */
function errorOf(stanza) {
  const error = stanza.getChild("error");
  return `${error.getChildElements()[0].name} ${error.attrs.type}`;
}

const codesOf = (stanza) =>
  (stanza.getChild("x", USER)?.getChildren("status") ?? []).map((s) => Number(s.attrs.code));

const nickOf = (stanza) => stanza.attrs.from.split("/").slice(1).join("/");

/* A subject is a subject without a body or a thread (§8.1). */
const isSubject = (stanza) =>
  stanza.is("message") &&
  stanza.attrs.type === "groupchat" &&
  stanza.getChild("subject") &&
  !stanza.getChild("body") &&
  !stanza.getChild("thread");

/* A presence of an occupant, taken apart. */
class Seen {
  constructor(stanza) {
    const extended = stanza.getChildren("x", USER);
    assert.equal(extended.length, 1, `muc#user once in ${stanza}`);
    const [x] = extended;
    const item = x.getChild("item");
    this.stanza = stanza;
    this.nick = nickOf(stanza);
    this.gone = stanza.attrs.type === "unavailable";
    this.standing = `${item.attrs.affiliation} ${item.attrs.role}`;
    this.jid = item.attrs.jid;
    this.newNick = item.attrs.nick;
    this.reason = item.getChildText("reason");
    this.actor = item.getChild("actor")?.attrs.nick;
    this.codes = codesOf(stanza);
    this.destroy = x.getChild("destroy");
    this.show = stanza.getChildText("show");
    this.status = stanza.getChildText("status");
  }

  has(...codes) {
    return codes.every((code) => this.codes.includes(code));
  }
}

/* --- forms (XEP-0004) --- */

const text = (value) => (typeof value === "boolean" ? String(Number(value)) : String(value));

/* A submitted form; names without # get the prefix. */
export function submit(type, fields, prefix = "") {
  const rows = Object.entries({ FORM_TYPE: type, ...fields }).map(([name, value]) =>
    xml(
      "field",
      { var: name === "FORM_TYPE" || name.includes("#") ? name : prefix + name },
      ...[value].flat().map((one) => xml("value", {}, text(one))),
    ),
  );
  return xml("x", { xmlns: DATA, type: "submit" }, ...rows);
}

/* {name: value, or array of values where the field may have several} */
export function valuesOf(form) {
  const rows = form.getChildren("field").map((field) => {
    const values = field.getChildren("value").map((value) => value.getText());
    return [field.attrs.var, field.attrs.type?.endsWith("-multi") ? values : values[0]];
  });
  return Object.fromEntries(rows);
}

/* --- discovery (XEP-0030) --- */

export async function info(client, to, node) {
  const query = await client.iq("get", to, xml("query", { xmlns: DISCO_INFO, node }));
  const forms = query.getChildren("x", DATA).map(valuesOf);
  return {
    identities: query.getChildren("identity").map((identity) => identity.attrs),
    features: query.getChildren("feature").map((feature) => feature.attrs.var),
    room: forms.find((form) => form.FORM_TYPE === `${MUC}#roominfo`),
  };
}

/* --- rooms --- */

/* <item/> of muc#admin of attributes and `reason`. */
function itemOf({ reason, ...attrs }) {
  return xml("item", attrs, reason && xml("reason", {}, reason));
}

/* A room. Methods take the client that speaks or that should hear something; nicknames are given
 * by the client who has it, or as text. */
export class Room {
  constructor(name = `room${++rooms}`) {
    this.jid = `${name}@${SERVICE}`;
  }

  /* A new one with an owner: instant, or reserved with these fields of its form. */
  static async open(owner, fields) {
    const room = new Room();
    const { own } = await room.enter(owner);
    assert.ok(own.has(110, 201) && own.standing === "owner moderator", `${own.stanza}`);
    await room.configure(owner, fields);
    return room;
  }

  at(who) {
    return `${this.jid}/${who.nick ?? who}`;
  }

  /* --- to enter and to leave --- */

  knock(client, { nick = client.nick, password, history } = {}) {
    const x = xml(
      "x",
      MUC,
      password && xml("password", {}, password),
      history && xml("history", history),
    );
    return client.send(xml("presence", { to: nick ? this.at(nick) : this.jid }, x));
  }

  /* Enters. What comes until the subject must come in the order of §7.1: presence of others, then
   * one's own, history, subject. What came from the room before is forgotten. */
  async enter(client, options) {
    const got = { others: {}, own: null, history: [], subject: null };
    const fits = (s) => s.is("presence") || s.attrs.type === "groupchat";
    client.inbox = client.inbox.filter((s) => !(this.#from(s) && fits(s)));
    await this.knock(client, options);
    while (!got.subject) {
      const stanza = await this.#next(client, "what one who enters gets", fits);
      assert.notEqual(stanza.attrs.type, "error", `${stanza}`);
      if (stanza.is("presence")) {
        assert.ok(!got.own, `after the own presence: ${stanza}`);
        const seen = new Seen(stanza);
        if (seen.has(110)) got.own = seen;
        else got.others[seen.nick] = seen;
      } else {
        assert.ok(got.own, `before the own presence: ${stanza}`);
        if (isSubject(stanza)) got.subject = stanza;
        else got.history.push(stanza);
      }
    }
    return got;
  }

  async rename(client, nick) {
    await client.send(xml("presence", { to: this.at(nick) }));
  }

  async leave(client, status) {
    const text = status && xml("status", {}, status);
    await client.send(xml("presence", { to: this.at(client), type: "unavailable" }, text));
    return this.gone(client, client);
  }

  /* --- to own --- */

  owner(client, type, ...children) {
    return client.iq(type, this.jid, xml("query", OWNER, ...children));
  }

  configure(client, fields) {
    const form = fields
      ? submit(`${MUC}#roomconfig`, fields, "muc#roomconfig_")
      : xml("x", { xmlns: DATA, type: "submit" });
    return this.owner(client, "set", form);
  }

  async configuration(client) {
    const query = await this.owner(client, "get");
    const form = query.getChild("x", DATA);
    assert.equal(form.attrs.type, "form");
    return valuesOf(form);
  }

  /* --- to administer --- */

  change(client, ...changes) {
    return client.iq("set", this.jid, xml("query", ADMIN, ...changes.map(itemOf)));
  }

  /* The attributes of the items with this role or affiliation. */
  async list(client, by) {
    const query = await client.iq("get", this.jid, xml("query", ADMIN, xml("item", by)));
    return query.getChildren("item").map((item) => item.attrs);
  }

  /* The addresses of an affiliation, or the nicknames of a role, in order. */
  async names(client, by) {
    const found = await this.list(client, by);
    return found.map((item) => (by.role ? item.nick : item.jid)).sort();
  }

  /* --- to speak --- */

  async send(client, to, type, ...children) {
    const id = Math.random().toString(36).slice(2);
    await client.send(xml("message", { to, type, id }, ...children));
    return id;
  }

  say(client, body) {
    return this.send(client, this.jid, "groupchat", xml("body", {}, body));
  }

  subject(client, subject) {
    return this.send(client, this.jid, "groupchat", xml("subject", {}, subject));
  }

  tell(client, ...children) {
    return this.send(client, this.jid, undefined, ...children);
  }

  /* --- to hear --- */

  #from({ attrs: { from } }) {
    return from === this.jid || from?.startsWith(`${this.jid}/`);
  }

  #next(client, what, fits) {
    return client.next(`${what} of ${this.jid}`, (s) => this.#from(s) && fits(s));
  }

  /* The next presence of an occupant, of whatever type. */
  async seen(client, who) {
    const from = this.at(who);
    const fits = (s) => s.is("presence") && s.attrs.from === from && s.attrs.type !== "error";
    return new Seen(await this.#next(client, `presence of ${from}`, fits));
  }

  /* The presence with which an occupant leaves. */
  async gone(client, who) {
    const from = this.at(who);
    const fits = (s) => s.is("presence") && s.attrs.from === from && s.attrs.type === "unavailable";
    return new Seen(await this.#next(client, `unavailable presence of ${from}`, fits));
  }

  heard(client, who, body, type = "groupchat") {
    const from = this.at(who);
    const fits = (s) =>
      s.is("message") &&
      s.attrs.from === from &&
      s.attrs.type === type &&
      s.getChildText("body") === body;
    return this.#next(client, `"${body}" of ${from}`, fits);
  }

  heardSubject(client, who, subject) {
    const from = this.at(who);
    const fits = (s) =>
      isSubject(s) && s.attrs.from === from && s.getChildText("subject") === subject;
    return this.#next(client, `subject "${subject}"`, fits);
  }

  /* The next message of the room itself that has this in <x/> of muc#user: invite, decline, status. */
  told(client, what) {
    const fits = (s) =>
      s.is("message") && s.attrs.from === this.jid && s.getChild("x", USER)?.getChild(what);
    return this.#next(client, `<${what}/>`, fits);
  }

  /* The form with which the room asks somebody to decide. */
  async asked(client) {
    const fits = (s) => s.is("message") && s.attrs.from === this.jid && s.getChild("x", DATA);
    const form = (await this.#next(client, "a form", fits)).getChild("x", DATA);
    assert.equal(form.attrs.type, "form");
    return valuesOf(form);
  }

  /* "condition type" of the error to a message. */
  async messageError(client, id) {
    const fits = (s) => s.is("message") && s.attrs.type === "error" && s.attrs.id === id;
    return errorOf(await this.#next(client, `an error to ${id}`, fits));
  }

  /* Nothing of the room that fits has come to the last of the clients, nor is it on its way from
   * what the others asked of it. */
  async nothing(clients, fits) {
    for (const client of clients) await info(client, this.jid);
    const found = clients.at(-1).inbox.filter((s) => this.#from(s) && fits(s));
    assert.equal(found.length, 0, `${found[0]}`);
  }

  /* What has come until now is of no interest. */
  async forget(...clients) {
    for (const client of clients) await info(client, this.jid);
    for (const client of clients) client.inbox.length = 0;
  }
}

/* A room of alice with others in it, and nothing of it in anybody's inbox. */
export async function coven(fields, owner, ...others) {
  const room = await Room.open(owner, fields);
  for (const client of others) await room.enter(client);
  await room.forget(owner, ...others);
  return room;
}
