/* What occupants do (XEP-0045 §7). */
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  also, cast, codesOf, coven, ctl, DELAY, info, MUC, refusal, REGISTER, Room, submit, USER,
  valuesOf, xml,
} from "../muc.js";

const [alice, bob, carol, dave] = cast("alice", "bob", "carol", "dave");
const all = [alice, bob, carol];
const NOTHING = "http://jabber.org/protocol/muc#nothing";
const FORM = `${MUC}#register`;

const delayOf = (stanza) => stanza.getChildren("delay", DELAY).map((delay) => delay.attrs);
const bodiesOf = (messages) => messages.map((message) => message.getChildText("body"));

/* A room in which alice said some things. */
async function told(...bodies) {
  const room = await coven({}, alice);
  for (const body of bodies) await room.say(alice, body);
  await room.heard(alice, alice, bodies.at(-1));
  return room;
}

test("§7.1 what one who enters gets, in its order", async () => {
  const room = await told("one", "two");
  await room.subject(alice, "Spells");
  await room.enter(bob);
  const got = await room.enter(carol);
  assert.deepEqual(Object.keys(got.others).sort(), [alice.nick, bob.nick]);
  assert.equal(got.own.nick, carol.nick);
  assert.deepEqual(bodiesOf(got.history), ["one", "two"]);
  assert.equal(got.subject.getChildText("subject"), "Spells");
});

/* --- §7.2: entering --- */

test("§7.2.1 without a nickname nobody enters", async () => {
  const room = await coven({}, alice);
  await room.knock(bob, { nick: "" });
  const error = (await room.presenceError(bob)).getChild("error");
  assert.equal(error.attrs.type, "modify");
  assert.equal(error.attrs.by, room.jid);
  assert.ok(error.getChild("jid-malformed"));
});

test("§7.2.1 a client that enters once more gets all of it again", async () => {
  const room = await coven({}, alice, bob);
  await room.say(alice, "one");
  await room.forget(alice, bob);
  const got = await room.enter(bob);
  assert.deepEqual(Object.keys(got.others), [alice.nick]);
  assert.deepEqual(bodiesOf(got.history), ["one"]);
});

test("§7.2.2 all see who enters; one who enters sees all, and oneself last", async () => {
  const room = await coven({}, alice, bob);
  const got = await room.enter(carol);
  assert.equal(got.others[alice.nick].standing, "owner moderator");
  assert.equal(got.others[bob.nick].standing, "none participant");
  assert.ok(got.own.has(110));
  for (const client of [alice, bob]) {
    const seen = await room.seen(client, carol);
    assert.deepEqual([seen.gone, seen.standing], [false, "none participant"]);
    assert.ok(!seen.has(110));
    assert.equal(seen.stanza.attrs.to, client.jid);
  }
});

test("§7.2.2 a nickname that the service changed is told by status 210", async () => {
  const room = await coven({}, alice);
  const { own } = await room.enter(bob, { nick: "second  witch" });
  assert.equal(own.nick, "second witch");
  assert.ok(own.has(110, 210));
});

test("§7.2.3 in a non-anonymous room all see who is who", async () => {
  const room = await coven({ whois: "anyone" }, alice, bob);
  const got = await room.enter(carol);
  assert.ok(got.own.has(100));
  assert.equal(got.others[alice.nick].jid, alice.jid);
  for (const client of [alice, bob]) assert.equal((await room.seen(client, carol)).jid, carol.jid);
});

test("§7.2.4 in a semi-anonymous room moderators alone do", async () => {
  const room = await coven({ whois: "moderators" }, alice, bob);
  const got = await room.enter(carol);
  assert.ok(!got.own.has(100));
  assert.equal(got.others[alice.nick].jid, undefined);
  assert.equal((await room.seen(alice, carol)).jid, carol.jid);
  assert.equal((await room.seen(bob, carol)).jid, undefined);
});

test("§7.2.5 a room with a password", async () => {
  const room = await coven({ passwordprotectedroom: true, roomsecret: "cauldron<burn>" }, alice);
  assert.equal(await room.refused(bob), "not-authorized auth");
  assert.equal(await room.refused(bob, { password: "wrong" }), "not-authorized auth");
  assert.ok((await room.enter(bob, { password: "cauldron<burn>" })).own);
});

test("§7.2.6 a members-only room", async () => {
  const room = await coven({ membersonly: true }, alice);
  assert.equal(await room.refused(bob), "registration-required auth");
  await room.change(alice, { jid: bob.bare, affiliation: "member" });
  assert.equal((await room.enter(bob)).own.standing, "member participant");
});

test("§7.2.7 the banned do not enter", async () => {
  const room = await coven({}, alice);
  await room.change(alice, { jid: bob.bare, affiliation: "outcast" });
  assert.equal(await room.refused(bob), "forbidden auth");
});

test("§7.2.8 a nickname that another has, or that is reserved", async () => {
  const room = await coven({}, alice);
  assert.equal(await room.refused(bob, { nick: alice.nick }), "conflict cancel");
  await room.change(alice, { jid: carol.bare, affiliation: "member", nick: "hecate" });
  assert.equal(await room.refused(bob, { nick: "hecate" }), "conflict cancel");
  assert.ok((await room.enter(carol, { nick: "hecate" })).own);
});

test("§7.2.8 two sessions of one person share a nickname", async () => {
  const room = await coven({}, alice, bob);
  await also(bob, async (other) => {
    await room.enter(other);
    await room.say(alice, "to both");
    await room.whisper(alice, bob, "to both, in private");
    for (const client of [bob, other]) {
      await room.heard(client, alice, "to both");
      await room.heard(client, alice, "to both, in private", "chat");
    }
    await room.say(other, "from one");
    for (const client of [alice, bob, other]) await room.heard(client, bob, "from one");
  });
  await room.say(bob, "still here");
  await room.heard(alice, bob, "still here");
  await room.nothing([bob, alice], (s) => s.attrs.type === "unavailable");
});

test("§7.2.9 a full room lets in owners and admins alone", async () => {
  const room = await coven({ maxusers: 2 }, alice, bob);
  assert.equal(await room.refused(carol), "service-unavailable wait");
  await room.change(alice, { jid: carol.bare, affiliation: "admin" });
  assert.equal((await room.enter(carol)).own.standing, "admin moderator");
  await room.leave(carol);
  await room.change(alice, { jid: carol.bare, affiliation: "member" });
  assert.equal(await room.refused(carol), "service-unavailable wait");
});

test("§7.2.10 a room that is locked", async () => {
  const room = new Room();
  await room.enter(alice);
  assert.equal(await room.refused(bob), "item-not-found cancel");
  await room.configure(alice);
  assert.ok((await room.enter(bob)).own);
});

test("§7.2.11 a room that does not exist is made", async () => {
  const { own } = await new Room().enter(bob);
  assert.ok(own.has(110, 201) && own.standing === "owner moderator");
});

test("§7.2.12 that a room is logged, is told to who enters", async () => {
  const room = await coven({ persistentroom: true, enablearchiving: true }, alice);
  assert.ok((await room.enter(bob)).own.has(170));
  assert.ok(!(await room.seen(alice, bob)).has(170));
  await room.leave(bob);
  await room.configure(alice, { enablearchiving: false });
  assert.ok(!(await room.enter(bob)).own.has(170));
});

test("§7.2.13 the history is stamped by the room", async () => {
  const room = await told("one", "two");
  const { history } = await room.enter(bob);
  assert.deepEqual(bodiesOf(history), ["one", "two"]);
  for (const message of history) {
    const [{ from, stamp }, ...others] = delayOf(message);
    assert.equal(message.attrs.from, room.at(alice));
    assert.deepEqual([from, others], [room.jid, []]);
    assert.ok(Math.abs(Date.now() - Date.parse(stamp)) < 60000, stamp);
  }
});

test("§7.2.14 as much history as is asked for", async () => {
  const room = await told("one", "two", "three");
  const get = async (history) => {
    const got = await room.enter(bob, { history });
    await room.leave(bob);
    return got.history;
  };
  const every = await get({ since: "1970-01-01T00:00:00Z" });
  assert.deepEqual(bodiesOf(every), ["one", "two", "three"]);
  assert.deepEqual(bodiesOf(await get({ maxstanzas: 2 })), ["two", "three"]);
  assert.deepEqual(bodiesOf(await get({ seconds: 180 })), ["one", "two", "three"]);
  assert.deepEqual(bodiesOf(await get({ seconds: 180, maxstanzas: 1 })), ["three"]);
  assert.deepEqual(bodiesOf(await get({ since: "2100-01-01T00:00:00Z" })), []);
  assert.deepEqual(await get({ maxchars: 0 }), []);
  const one = `${every[2]}`.length;
  assert.deepEqual(bodiesOf(await get({ maxchars: one + 20 })), ["three"]);
  assert.deepEqual(bodiesOf(await get({ maxchars: one - 60 })), []);
});

test("§7.2.15 the subject, with its time, or an empty one", async () => {
  const room = await coven({}, alice);
  const { subject } = await room.enter(bob);
  assert.equal(subject.getChildText("subject"), "");
  for (const text of ["Fire Burn and Cauldron Bubble!", ""]) {
    await room.subject(alice, text);
    await room.heardSubject(bob, alice, text);
    const { subject } = await room.enter(carol);
    assert.equal(subject.getChildText("subject"), text);
    assert.deepEqual(delayOf(subject).map((delay) => delay.from), [room.jid]);
    await room.leave(carol);
  }
});

test("§7.2.16 behind the subject comes what is said now", async () => {
  const room = await told("before");
  await room.enter(bob); // which checks that nothing was between
  await room.say(alice, "live");
  assert.deepEqual(delayOf(await room.heard(bob, alice, "live")), []);
});

test("§7.2.17 where rooms are not to be made, one that does not exist is refused", async () => {
  ctl("set", "muc.create", "administrators");
  try {
    assert.equal(await new Room().refused(bob), "not-allowed cancel");
  } finally {
    ctl("set", "muc.create", "everyone");
  }
});

test("§7.2.18 presence of who is not there is answered by a kick", async () => {
  const room = await coven({}, alice);
  await bob.send(xml("presence", { to: room.at(bob) }));
  const kicked = await room.gone(bob, bob);
  assert.ok(kicked.has(110, 307, 333));
  assert.equal(kicked.standing, "none none");
  await room.nothing([bob, alice], (s) => s.is("presence"));
});

/* --- being in a room --- */

test("§7.3 participants change the subject where they may, visitors never", async () => {
  const room = await coven({ changesubject: true }, alice, bob, carol);
  await room.subject(bob, "Ours");
  for (const client of all) await room.heardSubject(client, bob, "Ours");
  await room.configure(alice, { changesubject: false });
  assert.equal(await room.messageError(bob, await room.subject(bob, "Mine")), "forbidden auth");
  await room.configure(alice, { changesubject: true, moderatedroom: true });
  await room.change(alice, { nick: bob.nick, role: "visitor" });
  assert.equal(await room.messageError(bob, await room.subject(bob, "Mine")), "forbidden auth");
});

test("§7.4 what is said is heard by all, as it was said", async () => {
  const room = await coven({}, alice, bob, carol);
  const odd = xml("newt", "urn:example:newt", "eye");
  const body = xml("body", {}, "Harpier cries: 'tis <time>");
  const id = await room.send(bob, room.jid, "groupchat", body, odd);
  for (const client of all) {
    const message = await room.heard(client, bob, "Harpier cries: 'tis <time>");
    assert.deepEqual([message.attrs.id, message.attrs.to], [id, client.jid]);
    assert.equal(message.getChildText("newt", "urn:example:newt"), "eye");
  }
  for (const at of [room.jid, room.jid.split("@")[1]])
    assert.ok((await info(bob, at)).features.includes(`${MUC}#stable_id`));
});

test("§7.4 visitors and strangers are not heard", async () => {
  const room = await coven({ moderatedroom: true }, alice, bob);
  assert.equal(await room.messageError(bob, await room.say(bob, "psst")), "forbidden auth");
  const id = await room.say(carol, "psst");
  assert.equal(await room.messageError(carol, id), "not-acceptable modify");
  await room.nothing([bob, carol, alice], (s) => s.getChild("body"));
});

test("§7.5 a private message is for one", async () => {
  const room = await coven({ whois: "moderators" }, alice, bob, carol);
  const id = await room.send(bob, room.at(alice), "chat", xml("body", {}, "a wind"));
  const message = await room.heard(alice, bob, "a wind", "chat");
  assert.deepEqual([message.attrs.id, message.attrs.to], [id, alice.jid]);
  assert.ok(message.getChild("x", USER), "how clients know it from a chat");
  await room.nothing([bob, carol], (s) => s.getChild("body"));
});

test("§7.5 private messages that are refused", async () => {
  const room = await coven({}, alice, bob);
  const body = xml("body", {}, "a wind");
  const id = await room.send(bob, room.at(alice), "groupchat", body);
  assert.equal(await room.messageError(bob, id), "bad-request modify");
  assert.equal(await room.messageError(bob, await room.whisper(bob, "nobody", "hm")),
    "item-not-found cancel");
  assert.equal(await room.messageError(carol, await room.whisper(carol, alice, "hm")),
    "not-acceptable modify");
  await room.configure(alice, { allowpm: "moderators" });
  assert.match(await room.messageError(bob, await room.whisper(bob, alice, "hm")),
    /^(forbidden|not-allowed) /);
  await room.nothing([bob, carol, alice], (s) => s.getChild("body"));
});

test("§7.6 another nickname", async () => {
  const room = await coven({}, alice, bob, carol);
  await room.rename(bob, "hecate");
  for (const client of all) {
    const gone = await room.seen(client, bob);
    assert.ok(gone.gone && gone.has(303) && gone.newNick === "hecate", `${gone.stanza}`);
    const seen = await room.seen(client, "hecate");
    assert.deepEqual([seen.gone, seen.standing], [false, "none participant"]);
    for (const one of [gone, seen]) assert.equal(one.has(110), client === bob);
  }
  await room.say(bob, "it is me");
  await room.heard(alice, "hecate", "it is me");
  await room.rename(bob, "he  cate");
  assert.ok((await room.seen(bob, "he cate")).has(110, 210), "the service changed it");
});

test("§7.6 nicknames that are refused", async () => {
  const room = await coven({}, alice, bob, carol);
  assert.equal(await room.renameRefused(bob, carol.nick), "conflict cancel");
  await room.change(alice, { jid: dave.bare, affiliation: "member", nick: "hecate" });
  assert.equal(await room.renameRefused(bob, "hecate"), "conflict cancel");
  await room.configure(alice, { moderatedroom: true });
  await room.change(alice, { nick: bob.nick, role: "visitor" });
  assert.equal(await room.renameRefused(bob, "hag"), "not-acceptable modify");
  await room.nothing([bob, alice], (s) => codesOf(s).includes(303));
});

test("§7.7 another availability", async () => {
  const room = await coven({}, alice, bob, carol);
  const status = "gone where the goblins go";
  const to = room.at(bob);
  await bob.send(xml("presence", { to }, xml("show", {}, "xa"), xml("status", {}, status)));
  for (const client of all) {
    const seen = await room.seen(client, bob);
    assert.deepEqual([seen.show, seen.status, seen.standing], ["xa", status, "none participant"]);
  }
  await room.leave(carol);
  assert.equal((await room.enter(carol)).others[bob.nick].show, "xa");
});

/* --- invitations --- */

test("§7.8.1 a direct invitation", async () => {
  const room = await coven({}, alice);
  const NS = "jabber:x:conference";
  const attrs = { jid: room.jid, password: "burn", reason: "Hey Hecate", continue: "true" };
  await alice.send(xml("message", { to: dave.bare }, xml("x", { xmlns: NS, ...attrs })));
  const message = await dave.next("an invitation", (s) => s.getChild("x", NS));
  assert.equal(message.attrs.from, alice.jid);
  assert.deepEqual(message.getChild("x", NS).attrs, { xmlns: NS, ...attrs });
});

test("§7.8.2 a mediated invitation, and its decline", async () => {
  const room = await coven({ passwordprotectedroom: true, roomsecret: "burn" }, alice);
  const invite = xml("invite", { to: dave.bare }, xml("reason", {}, "Hey Hecate"));
  await room.tell(alice, xml("x", USER, invite));
  const x = (await room.told(dave, "invite")).getChild("x", USER);
  const { from } = x.getChild("invite").attrs;
  assert.ok([alice.bare, alice.jid, room.at(alice)].includes(from), from);
  assert.equal(x.getChild("invite").getChildText("reason"), "Hey Hecate");
  assert.equal(x.getChildText("password"), "burn");
  const decline = xml("decline", { to: from }, xml("reason", {}, "Too busy"));
  await room.tell(dave, xml("x", USER, decline));
  const declined = (await room.told(alice, "decline")).getChild("x", USER).getChild("decline");
  assert.equal(declined.attrs.from, dave.bare);
  assert.equal(declined.getChildText("reason"), "Too busy");
});

test("§7.8.2 who is not there, and who may not, does not invite", async () => {
  const room = await coven({ membersonly: true, allowinvites: false }, alice);
  const invite = (client) => room.tell(client, xml("x", USER, xml("invite", { to: dave.bare })));
  assert.equal(await room.messageError(carol, await invite(carol)), "not-acceptable modify");
  await room.change(alice, { jid: bob.bare, affiliation: "member" });
  await room.enter(bob);
  assert.equal(await room.messageError(bob, await invite(bob)), "forbidden auth");
  await room.nothing([bob, carol, dave], (s) => s.getChild("x", USER));
});

test("§7.9 a chat becomes a conference", async () => {
  const thread = "e0ffe42b28561960c6b12b944a092794b9683a38";
  const room = await coven({ whois: "anyone" }, alice);
  const chat = [[alice, "Thrice the brinded cat", "2004-09-29T01:54:37Z"],
    [bob, "Thrice and once", "2004-09-29T01:55:21Z"]];
  for (const [who, body, stamp] of chat)
    await room.send(alice, room.jid, "groupchat", xml("thread", {}, thread),
      xml("body", {}, body), xml("delay", { xmlns: DELAY, from: who.jid, stamp }));
  const invites = [bob.jid, dave.bare].map((to) =>
    xml("invite", { to }, xml("continue", { thread })));
  await room.tell(alice, xml("x", USER, ...invites));
  for (const client of [bob, dave]) {
    const [invite, ...others] =
      (await room.told(client, "invite")).getChild("x", USER).getChildren("invite");
    assert.equal(invite.getChild("continue").attrs.thread, thread);
    assert.deepEqual(others, []);
    const { history } = await room.enter(client);
    const got = history.map((m) => [m.getChildText("thread"), m.getChildText("body"),
      ...delayOf(m).flatMap(({ from, stamp }) => [from, stamp])]);
    assert.deepEqual(got, chat.map(([who, body, stamp]) => [thread, body, who.jid, stamp]));
  }
});

/* --- registration --- */

const OPEN = { "x-muc#roomconfig_registration": true };
const askForm = (client, room) => client.iq("get", room.jid, xml("query", REGISTER));
const register = (client, room, nick) =>
  client.iq("set", room.jid,
    xml("query", REGISTER, submit(FORM, { "muc#register_roomnick": nick })));

test("§7.10 registration makes a member with a nickname", async () => {
  const room = await coven(OPEN, alice, bob);
  const form = valuesOf((await askForm(bob, room)).getChild("x"));
  assert.equal(form.FORM_TYPE, FORM);
  assert.ok("muc#register_roomnick" in form);
  await register(bob, room, bob.nick);
  for (const client of [alice, bob])
    assert.equal((await room.seen(client, bob)).standing, "member participant");
  const again = await askForm(bob, room);
  assert.ok(again.getChild("registered"));
  assert.equal(again.getChildText("username"), bob.nick);
  assert.deepEqual(await room.names(alice, { affiliation: "member" }), [bob.bare]);
});

test("§7.10 registrations that are refused", async () => {
  const room = await coven(OPEN, alice);
  assert.equal(await refusal(askForm(bob, new Room())), "item-not-found cancel");
  await register(bob, room, "hecate");
  assert.equal(await refusal(register(carol, room, "hecate")), "conflict cancel");
  const empty = carol.iq("set", room.jid, xml("query", REGISTER));
  assert.equal(await refusal(empty), "bad-request modify");
  const other = carol.iq("set", room.jid, xml("query", REGISTER, submit(NOTHING, { a: "b" })));
  assert.match(await refusal(other), /^(bad-request|not-acceptable) modify$/);
  await room.change(alice, { jid: carol.bare, affiliation: "outcast" });
  assert.equal(await refusal(askForm(carol, room)), "not-allowed cancel");
  assert.equal(await refusal(register(carol, room, "hag")), "not-allowed cancel");
  assert.deepEqual(await room.names(alice, { affiliation: "member" }), [bob.bare]);
});

test("§7.11 who may get the member list", async () => {
  const room = await coven({ membersonly: true, whois: "anyone" }, alice);
  const members = (client) => room.names(client, { affiliation: "member" });
  await room.change(alice, { jid: bob.bare, affiliation: "member" },
    { jid: carol.bare, affiliation: "member" });
  await room.enter(bob);
  assert.deepEqual(await members(bob), [bob.bare, carol.bare]);
  assert.deepEqual(await members(carol), [bob.bare, carol.bare], "though not in the room");
  assert.equal(await refusal(members(dave)), "forbidden auth");
  await room.configure(alice, { whois: "moderators" });
  assert.equal(await refusal(members(bob)), "forbidden auth");
});

test("§7.12 which nickname is reserved for oneself", async () => {
  const room = await coven({}, alice, bob);
  const reserved = async (client) =>
    (await info(client, room.jid, "x-roomuser-item")).identities;
  assert.deepEqual(await reserved(carol), []);
  for (const client of [bob, carol]) {
    await room.change(alice, { jid: client.bare, affiliation: "member", nick: client.nick });
    assert.deepEqual(await reserved(client),
      [{ category: "conference", type: "text", name: client.nick }]);
  }
  assert.equal(await room.refused(dave, { nick: carol.nick }), "conflict cancel");
});

test("§7.13 a visitor asks for voice", async () => {
  const room = await coven({ moderatedroom: true }, alice, bob);
  const form = (role) => submit(`${MUC}#request`, { "muc#role": role });
  await room.tell(bob, form("moderator"));
  await room.tell(bob, form("participant"));
  const asked = await room.asked(alice);
  assert.equal(asked["muc#role"], "participant", "and for no more");
  assert.equal(asked["muc#roomnick"], bob.nick);
  const id = await room.tell(carol, form("participant"));
  assert.match(await room.messageError(carol, id), /^(not-acceptable modify|forbidden auth)$/);
});

/* --- leaving --- */

test("§7.14 leaving, with a word", async () => {
  const room = await coven({}, alice, bob, carol);
  const own = await room.leave(bob, "gone where the goblins go");
  assert.ok(own.has(110));
  for (const client of [alice, carol]) {
    const gone = await room.gone(client, bob);
    assert.ok(!gone.has(110));
    assert.deepEqual([gone.standing, gone.status], ["none none", "gone where the goblins go"]);
  }
  await room.say(alice, "after");
  await room.nothing([alice, bob], (s) => s.getChild("body"));
});

test("§7.14 who goes offline leaves", async () => {
  const room = await coven({}, alice);
  await also(bob, async (other) => {
    await room.enter(other);
    await other.send(xml("presence", { type: "unavailable" }, xml("status", {}, "bye")));
    const gone = await room.gone(alice, bob);
    assert.deepEqual([gone.standing, gone.status], ["none none", "bye"]);
    await room.gone(other, bob);
    await other.send(xml("presence"));
    await room.enter(other);
  });
  assert.equal((await room.gone(alice, bob)).standing, "none none", "its stream is closed");
});

test("§7.14 a temporary room ends with its last occupant", async () => {
  const room = await coven({ persistentroom: false }, alice);
  await room.leave(alice);
  assert.equal(await refusal(info(bob, room.jid)), "item-not-found cancel");
});
