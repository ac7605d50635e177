/* XEP-0045 with xmpp.js: one case for each thing that people do in rooms. The rules themselves are
 * tested in test/rooms. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { cast, coven, info, MUC, refusal, REGISTER, Room, submit, USER, valuesOf, xml } from "./muc.js";

const [alice, bob, carol, dave] = cast("alice", "bob", "carol", "dave");
const all = [alice, bob, carol];
const FORM = `${MUC}#register`;
const REQUEST = `${MUC}#request`;

const bodiesOf = (messages) => messages.map((message) => message.getChildText("body"));

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

test("§7.5 a private message is for one", async () => {
  const room = await coven({ whois: "moderators" }, alice, bob, carol);
  const id = await room.send(bob, room.at(alice), "chat", xml("body", {}, "a wind"));
  const message = await room.heard(alice, bob, "a wind", "chat");
  assert.deepEqual([message.attrs.id, message.attrs.to], [id, alice.jid]);
  assert.ok(message.getChild("x", USER), "how clients know it from a chat");
  await room.nothing([bob, carol], (s) => s.getChild("body"));
});

test("§7.2.14 as much history as is asked for", async () => {
  const room = await coven({}, alice);
  for (const body of ["one", "two", "three"]) await room.say(alice, body);
  await room.heard(alice, alice, "three");
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

const askForm = (client, room) => client.iq("get", room.jid, xml("query", REGISTER));

test("§7.10 registration makes a member with a nickname", async () => {
  const room = await coven({ "x-muc#roomconfig_registration": true }, alice, bob);
  const form = valuesOf((await askForm(bob, room)).getChild("x"));
  assert.equal(form.FORM_TYPE, FORM);
  assert.ok("muc#register_roomnick" in form);
  await bob.iq("set", room.jid,
    xml("query", REGISTER, submit(FORM, { "muc#register_roomnick": bob.nick })));
  for (const client of [alice, bob])
    assert.equal((await room.seen(client, bob)).standing, "member participant");
  const again = await askForm(bob, room);
  assert.ok(again.getChild("registered"));
  assert.equal(again.getChildText("username"), bob.nick);
  assert.deepEqual(await room.names(alice, { affiliation: "member" }), [bob.bare]);
});

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

test("§8.1 a moderator changes the subject, and all are told", async () => {
  const room = await coven({ changesubject: false }, alice, bob, carol);
  const id = await room.subject(alice, "Fire Burn and Cauldron Bubble!");
  for (const client of all) {
    const message = await room.heardSubject(client, alice, "Fire Burn and Cauldron Bubble!");
    assert.equal(message.attrs.id, id);
  }
  await room.subject(alice, "");
  for (const client of all) await room.heardSubject(client, alice, "");
});

test("§8.2 a kick: who is kicked and all others learn of it", async () => {
  const room = await coven({}, alice, bob, carol);
  await room.change(alice, { nick: carol.nick, role: "none", reason: "Avaunt, you cullion!" });
  for (const client of all) {
    const gone = await room.gone(client, carol);
    assert.ok(gone.has(307), `${gone.stanza}`);
    assert.equal(gone.has(110), client === carol);
    assert.equal(gone.standing, "none none");
    assert.equal(gone.reason, "Avaunt, you cullion!");
    assert.equal(gone.actor, alice.nick);
  }
  const id = await room.say(carol, "why?");
  assert.equal(await room.messageError(carol, id), "not-acceptable modify");
  assert.equal((await room.enter(carol)).own.standing, "none participant");
});

test("§8.6 a request for voice is approved", async () => {
  const room = await coven({ moderatedroom: true }, alice, bob, carol);
  await room.tell(carol, submit(REQUEST, { "muc#role": "participant" }));
  const form = await room.asked(alice);
  assert.equal(form.FORM_TYPE, REQUEST);
  assert.equal(form["muc#role"], "participant");
  assert.equal(form["muc#roomnick"], carol.nick);
  assert.equal(form["muc#jid"], carol.jid);
  assert.match(form["muc#request_allow"], /^(0|false)$/);
  await room.tell(alice, submit(REQUEST, { ...form, "muc#request_allow": true }));
  assert.equal((await room.seen(carol, carol)).standing, "none participant");
  await room.say(carol, "thank you");
  await room.heard(alice, carol, "thank you");
});

test("§9.2 the ban list", async () => {
  const room = await coven({}, alice, bob, carol);
  await room.change(alice, { jid: bob.bare, affiliation: "admin" });
  const ban = (jid, affiliation, reason) => ({ jid, affiliation, reason });
  const banned = () => room.names(bob, { affiliation: "outcast" });
  await room.change(bob, ban("scroop@example.org", "outcast", "Treason"),
    ban(carol.bare, "outcast"));
  assert.ok((await room.gone(carol, carol)).has(301));
  assert.deepEqual(await banned(), [carol.bare, "scroop@example.org"]);
  for (const item of await room.list(bob, { affiliation: "outcast" }))
    assert.deepEqual(Object.keys(item).sort(), ["affiliation", "jid"]);
  await room.change(bob, ban(carol.bare, "none"));
  assert.deepEqual(await banned(), ["scroop@example.org"]);
  assert.equal((await room.enter(carol)).own.standing, "none participant");
});

test("§10.1.3 a reserved room", async () => {
  const room = new Room();
  await room.enter(alice);
  const form = await room.configuration(alice);
  assert.equal(form.FORM_TYPE, `${MUC}#roomconfig`);
  const names = ["roomname", "roomdesc", "lang", "enablearchiving", "changesubject", "allowinvites",
    "allowpm", "maxusers", "presencebroadcast", "getmemberlist", "publicroom", "persistentroom",
    "moderatedroom", "membersonly", "passwordprotectedroom", "roomsecret", "whois", "roomadmins",
    "roomowners"].map((name) => `muc#roomconfig_${name}`);
  assert.deepEqual([...names, "muc#maxhistoryfetch"].filter((name) => !(name in form)), []);
  await room.configure(alice, {
    roomname: "A Dark Cave", passwordprotectedroom: true, roomsecret: "cauldronburn",
    moderatedroom: true, roomadmins: [bob.bare, carol.bare],
  });
  assert.equal((await info(bob, room.jid)).identities[0].name, "A Dark Cave");
  const password = "cauldronburn";
  assert.equal((await room.enter(bob, { password })).own.standing, "admin moderator");
  assert.equal((await room.enter(dave, { password })).own.standing, "none visitor");
});

test("§10.6 the status of admin is granted", async () => {
  const room = await coven({}, alice, bob, carol);
  const reason = "A worthy witch indeed!";
  await room.change(alice, { jid: carol.bare, affiliation: "admin", reason });
  for (const client of all) {
    const seen = await room.seen(client, carol);
    assert.deepEqual([seen.standing, seen.reason], ["admin moderator", reason]);
  }
  await room.change(alice, { jid: dave.jid, affiliation: "admin" });
  assert.deepEqual(await room.names(alice, { affiliation: "admin" }), [dave.bare, carol.bare].sort(),
    "by the bare address");
});

test("§10.9 a room is destroyed, and all are told where to go", async () => {
  const room = await coven({ persistentroom: true }, alice, bob, carol);
  const venue = { jid: `heath@${room.jid.split("@")[1]}` };
  await room.owner(alice, "set", xml("destroy", venue, xml("reason", {}, "Macbeth doth come."),
    xml("password", {}, "burn")));
  for (const client of all) {
    const gone = await room.gone(client, client);
    assert.equal(gone.standing, "none none");
    assert.equal(gone.destroy.attrs.jid, venue.jid);
    assert.equal(gone.destroy.getChildText("reason"), "Macbeth doth come.");
    assert.equal(gone.destroy.getChildText("password"), "burn");
  }
  for (const client of all)
    assert.ok(!client.inbox.some((s) => s.attrs.from?.startsWith(room.jid)), "of oneself alone");
  assert.equal(await refusal(info(alice, room.jid)), "item-not-found cancel");
});
