/* What administrators of a room do (XEP-0045 §9). */
import assert from "node:assert/strict";
import { test } from "node:test";
import { cast, coven, MUC, refusal, REGISTER, submit, USER, xml } from "../muc.js";

const [alice, bob, carol, dave] = cast("alice", "bob", "carol", "dave");
const all = [alice, bob, carol];
const FORM = `${MUC}#register`;

/* A room of an owner, an administrator (bob) and a participant (carol). */
async function council(fields = {}) {
  const room = await coven(fields, alice, bob, carol);
  await room.change(alice, { jid: bob.bare, affiliation: "admin" });
  await room.forget(...all);
  return room;
}

test("§9.1 a ban: who is banned and all others learn of it", async () => {
  const room = await council();
  await room.change(bob, { jid: carol.bare, affiliation: "outcast", reason: "Treason" });
  for (const client of all) {
    const gone = await room.gone(client, carol);
    assert.ok(gone.has(301), `${gone.stanza}`);
    assert.equal(gone.has(110), client === carol);
    assert.deepEqual([gone.standing, gone.reason, gone.actor], ["outcast none", "Treason",
      bob.nick]);
  }
  assert.equal(await room.refused(carol), "forbidden auth");
});

test("§9.1 the nickname of who is banned is reserved no longer", async () => {
  const room = await council();
  await room.change(bob, { jid: dave.bare, affiliation: "member", nick: "hecate" });
  assert.equal(await room.renameRefused(carol, "hecate"), "conflict cancel");
  await room.change(bob, { jid: dave.bare, affiliation: "outcast" });
  await room.rename(carol, "hecate");
  assert.equal((await room.seen(carol, "hecate")).gone, false);
});

const CHANGES = [
  ["§9.1", { affiliation: "outcast" }], ["§9.3", { affiliation: "member" }],
  ["§9.4", { affiliation: "none" }], ["§9.6", { role: "moderator" }],
  ["§9.7", { role: "participant" }],
];
for (const [section, to] of CHANGES)
  test(`${section} an admin is told of success, then all of what it means`, async () => {
    const room = await council();
    const whom = to.role ? { nick: carol.nick } : { jid: carol.bare };
    if (to.affiliation === "none") await room.change(bob, { ...whom, affiliation: "member" });
    if (to.role === "participant") await room.change(bob, { ...whom, role: "moderator" });
    await room.forget(bob);
    const act = () => room.change(bob, { ...whom, ...to });
    assert.deepEqual(await room.order(bob, act), ["iq", "presence"]);
  });

test("§9.1 an admin bans no owner, nobody bans oneself, participants ban nobody", async () => {
  const room = await council();
  const ban = (by, whom) => refusal(room.change(by, { jid: whom.bare, affiliation: "outcast" }));
  assert.equal(await ban(bob, alice), "not-allowed cancel");
  assert.equal(await ban(bob, bob), "conflict cancel");
  assert.equal(await ban(alice, alice), "conflict cancel");
  assert.equal(await ban(carol, dave), "forbidden auth");
  assert.deepEqual(await room.names(alice, { affiliation: "outcast" }), []);
});

test("§9.2 the ban list", async () => {
  const room = await council();
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

test("§9.2 is for admins, and changed as a whole or not at all", async () => {
  const room = await council();
  const affiliation = "outcast";
  assert.equal(await refusal(room.list(carol, { affiliation })), "forbidden auth");
  const change = room.change(bob, { jid: carol.bare, affiliation },
    { jid: alice.bare, affiliation });
  assert.equal(await refusal(change), "not-allowed cancel");
  assert.deepEqual(await room.names(bob, { affiliation }), []);
  await room.nothing([bob, carol], (s) => s.is("presence"));
});

test("§9.2 a ban of a domain is one of all its users", async () => {
  const room = await council();
  await room.change(alice, { jid: dave.bare.split("@")[1], affiliation: "outcast" });
  assert.equal(await room.refused(dave), "forbidden auth");
});

test("§9.3 membership is granted", async () => {
  const room = await council();
  const reason = "A worthy witch indeed!";
  await room.change(bob, { jid: carol.bare, affiliation: "member", nick: "hag", reason });
  for (const client of all) {
    const seen = await room.seen(client, carol);
    assert.deepEqual([seen.standing, seen.reason], ["member participant", reason]);
  }
  const [member] = await room.list(bob, { affiliation: "member" });
  assert.deepEqual([member.jid, member.nick], [carol.bare, "hag"]);
});

test("§9.3 is for admins", async () => {
  const room = await council();
  const grant = room.change(carol, { jid: dave.bare, affiliation: "member" });
  assert.equal(await refusal(grant), "forbidden auth");
});

test("§9.4 membership is revoked", async () => {
  const room = await council();
  await room.change(bob, { jid: carol.bare, affiliation: "member" });
  await room.forget(...all);
  await room.change(bob, { jid: carol.bare, affiliation: "none" });
  for (const client of all) {
    const seen = await room.seen(client, carol);
    assert.deepEqual([seen.gone, seen.standing], [false, "none participant"]);
  }
  assert.deepEqual(await room.names(bob, { affiliation: "member" }), []);
});

test("§9.4 without membership nobody stays in a members-only room", async () => {
  const room = await council();
  await room.change(bob, { jid: carol.bare, affiliation: "member" });
  await room.configure(alice, { membersonly: true });
  await room.forget(...all);
  await room.change(bob, { jid: carol.bare, affiliation: "none" });
  for (const client of all) {
    const seen = await room.seen(client, carol);
    assert.ok(seen.gone && seen.has(321), `${seen.stanza}`);
    assert.equal(seen.standing, "none none");
  }
  assert.equal(await room.refused(carol), "registration-required auth");
});

test("§9.5 the member list", async () => {
  const room = await council();
  const members = () => room.names(bob, { affiliation: "member" });
  await room.change(bob, { jid: carol.bare, affiliation: "member" },
    { jid: dave.bare, affiliation: "member", nick: "hecate" });
  assert.deepEqual(await members(), [carol.bare, dave.bare]);
  await room.change(bob, { jid: carol.bare, affiliation: "none" },
    { jid: dave.bare, affiliation: "member", nick: "" });
  const [member, ...others] = await room.list(bob, { affiliation: "member" });
  assert.deepEqual([member.affiliation, member.jid, member.nick, others],
    ["member", dave.bare, undefined, []]);
});

test("§9.5 who becomes a member of a members-only room is invited", async () => {
  const room = await council();
  await room.configure(alice, {
    membersonly: true, passwordprotectedroom: true, roomsecret: "burn",
  });
  await room.change(bob, { jid: dave.bare, affiliation: "member" });
  const x = (await room.told(dave, "invite")).getChild("x", USER);
  assert.equal(x.getChildText("password"), "burn");
});

test("§9.5 members invite into a members-only room where they may, and so make members",
  async () => {
    const room = await council();
    await room.change(bob, { jid: carol.bare, affiliation: "member" });
    await room.configure(alice, { membersonly: true, allowinvites: false });
    const invite = () => room.tell(carol, xml("x", USER, xml("invite", { to: dave.bare })));
    assert.equal(await room.messageError(carol, await invite()), "forbidden auth");
    await room.configure(alice, { allowinvites: true });
    await invite();
    await room.told(dave, "invite");
    assert.deepEqual(await room.names(bob, { affiliation: "member" }), [carol.bare, dave.bare]);
    assert.equal((await room.enter(dave)).own.standing, "member participant");
  });

test("§9.6 moderator status is granted", async () => {
  const room = await council();
  const reason = "A worthy witch indeed!";
  await room.change(bob, { nick: carol.nick, role: "moderator", reason });
  for (const client of all) {
    const seen = await room.seen(client, carol);
    assert.deepEqual([seen.standing, seen.reason], ["none moderator", reason]);
  }
});

test("§9.6 is for admins: a moderator makes no moderators", async () => {
  const room = await council();
  await room.change(bob, { nick: carol.nick, role: "moderator" });
  await room.enter(dave);
  const grant = room.change(carol, { nick: dave.nick, role: "moderator" });
  assert.match(await refusal(grant), /^(forbidden auth|not-allowed cancel)$/);
});

test("§9.7 moderator status is revoked", async () => {
  const room = await council();
  await room.change(bob, { nick: carol.nick, role: "moderator" });
  await room.forget(...all);
  await room.change(bob, { nick: carol.nick, role: "participant", reason: "Not so worthy" });
  for (const client of all) {
    const seen = await room.seen(client, carol);
    assert.deepEqual([seen.standing, seen.reason], ["none participant", "Not so worthy"]);
  }
});

test("§9.7 not of admins and owners", async () => {
  const room = await council();
  for (const { nick } of [alice, bob]) {
    const revoke = room.change(bob, { nick, role: "participant" });
    assert.equal(await refusal(revoke), "not-allowed cancel");
  }
});

test("§9.8 the moderator list", async () => {
  const room = await council();
  const moderators = () => room.names(bob, { role: "moderator" });
  assert.deepEqual(await moderators(), [alice.nick, bob.nick]);
  await room.enter(dave);
  await room.change(bob, { nick: carol.nick, role: "moderator" });
  await room.change(bob, { nick: carol.nick, role: "participant" },
    { nick: dave.nick, role: "moderator" });
  assert.deepEqual(await moderators(), [alice.nick, dave.nick, bob.nick].sort());
  assert.equal(await refusal(room.list(carol, { role: "moderator" })), "forbidden auth");
});

test("§9.8 is changed as a whole or not at all", async () => {
  const room = await council();
  const change = room.change(bob, { nick: carol.nick, role: "moderator" },
    { nick: alice.nick, role: "participant" });
  assert.equal(await refusal(change), "not-allowed cancel");
  assert.deepEqual(await room.names(bob, { role: "moderator" }), [alice.nick, bob.nick]);
});

for (const allow of [true, false])
  test(`§9.9 a registration is ${allow ? "approved" : "denied"}`, async () => {
    const room = await council({ "x-muc#roomconfig_registration": false });
    const form = submit(FORM, { "muc#register_roomnick": "hecate" });
    await dave.iq("set", room.jid, xml("query", REGISTER, form));
    for (const client of [alice, bob]) {
      const asked = await room.asked(client);
      assert.equal(asked.FORM_TYPE, FORM);
      assert.equal(asked["muc#register_roomnick"], "hecate");
      assert.match(asked["muc#register_allow"], /^(0|false)$/);
      if (client === bob)
        await room.tell(bob, submit(FORM, { ...asked, "muc#register_allow": allow }));
    }
    assert.deepEqual(await room.names(bob, { affiliation: "member" }), allow ? [dave.bare] : []);
  });
