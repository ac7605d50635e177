/* What moderators do (XEP-0045 §8). */
import assert from "node:assert/strict";
import { test } from "node:test";
import { cast, coven, MUC, refusal, submit, xml } from "../muc.js";

const [alice, bob, carol] = cast("alice", "bob", "carol");
const all = [alice, bob, carol];
const REQUEST = `${MUC}#request`;

/* A moderated room of an owner, a moderator without affiliation (bob), and a visitor (carol). */
async function stage() {
  const room = await coven({ moderatedroom: true }, alice, bob, carol);
  await room.change(alice, { nick: bob.nick, role: "moderator" });
  await room.forget(...all);
  return room;
}

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

test("§8.1 without the privilege the subject is forbidden", async () => {
  const room = await coven({ changesubject: false }, alice, bob, carol);
  assert.equal(await room.messageError(bob, await room.subject(bob, "Mine")), "forbidden auth");
  await room.nothing([bob, carol], (s) => s.getChild("subject"));
});

test("§8.1 a subject with a body or a thread is a message", async () => {
  const room = await coven({}, alice, bob, carol);
  await room.subject(alice, "Spells");
  const subject = xml("subject", {}, "Of this message");
  await room.send(alice, room.jid, "groupchat", subject, xml("body", {}, "text"));
  await room.send(alice, room.jid, "groupchat", subject, xml("thread", {}, "t1"));
  await room.heard(bob, alice, "text");
  await room.leave(carol);
  assert.equal((await room.enter(carol)).subject.getChildText("subject"), "Spells");
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

for (const [section, role] of [["§8.2", "none"], ["§8.3", "participant"], ["§8.4", "visitor"]])
  test(`${section} a moderator is told of success, then all of what it means`, async () => {
    const room = await coven({ moderatedroom: true }, alice, bob);
    if (role === "visitor") await room.change(alice, { nick: bob.nick, role: "participant" });
    const act = () => room.change(alice, { nick: bob.nick, role });
    await room.forget(alice);
    assert.deepEqual(await room.order(alice, act), ["iq", "presence"]);
  });

test("§8.2 nobody kicks who stands higher", async () => {
  const room = await stage();
  for (const affiliation of ["member", "admin", "owner"]) {
    await room.change(alice, { jid: carol.bare, affiliation });
    const kick = room.change(bob, { nick: carol.nick, role: "none" });
    assert.equal(await refusal(kick), "not-allowed cancel", affiliation);
  }
  assert.equal(await refusal(room.change(bob, { nick: "nobody", role: "none" })),
    "item-not-found cancel");
});

test("§8.2 nobody kicks oneself, participants kick nobody", async () => {
  const room = await coven({}, alice, bob, carol);
  assert.equal(await refusal(room.change(alice, { nick: alice.nick, role: "none" })),
    "conflict cancel");
  assert.equal(await refusal(room.change(bob, { nick: carol.nick, role: "none" })),
    "forbidden auth");
});

test("§8.3 voice is granted", async () => {
  const room = await stage();
  const reason = "A worthy witch indeed!";
  await room.change(bob, { nick: carol.nick, role: "participant", reason });
  for (const client of all) {
    const seen = await room.seen(client, carol);
    assert.equal(seen.standing, "none participant");
    assert.equal(seen.reason, reason);
  }
  await room.say(carol, "thank you");
  await room.heard(alice, carol, "thank you");
});

test("§8.4 voice is revoked", async () => {
  const room = await coven({ moderatedroom: true }, alice, bob, carol);
  await room.change(alice, { nick: carol.nick, role: "participant" });
  const reason = "Not so worthy after all!";
  await room.change(alice, { nick: carol.nick, role: "visitor", reason });
  for (const client of all) {
    assert.equal((await room.seen(client, carol)).standing, "none participant");
    const seen = await room.seen(client, carol);
    assert.deepEqual([seen.standing, seen.reason], ["none visitor", reason]);
  }
  assert.equal(await room.messageError(carol, await room.say(carol, "but")), "forbidden auth");
});

test("§8.4 not of admins and owners, nor of one's equals", async () => {
  const room = await stage();
  await room.change(bob, { nick: carol.nick, role: "participant" });
  const mute = (by) => refusal(room.change(by, { nick: carol.nick, role: "visitor" }));
  assert.equal(await mute(bob), "not-allowed cancel", "both are without affiliation");
  for (const affiliation of ["admin", "owner"]) {
    await room.change(alice, { jid: carol.bare, affiliation });
    for (const by of [alice, bob]) assert.equal(await mute(by), "not-allowed cancel", affiliation);
  }
});

test("§8.5 the voice list", async () => {
  const room = await coven({ moderatedroom: true }, alice, bob, carol);
  assert.deepEqual(await room.list(alice, { role: "participant" }), []);
  const change = (...roles) =>
    room.change(alice, { nick: bob.nick, role: roles[0] }, { nick: carol.nick, role: roles[1] });
  await change("participant", "participant");
  const found = await room.list(alice, { role: "participant" });
  assert.deepEqual(
    found.map((item) => [item.nick, item.role, item.affiliation, item.jid]).sort(),
    [bob, carol].map((who) => [who.nick, "participant", "none", who.jid]).sort(),
  );
  await change("visitor", "participant");
  assert.deepEqual(await room.names(alice, { role: "participant" }), [carol.nick]);
  assert.deepEqual(await room.names(alice, { role: "visitor" }), [bob.nick]);
  const roles = [];
  for (let i = 0; i < 2; i++) roles.push((await room.seen(carol, bob)).standing);
  assert.deepEqual(roles, ["none participant", "none visitor"]);
});

test("§8.5 is for moderators, and changed as a whole or not at all", async () => {
  const room = await stage();
  for (const role of ["participant", "visitor", "moderator"])
    assert.equal(await refusal(room.list(carol, { role })), "forbidden auth");
  const change = room.change(bob, { nick: carol.nick, role: "participant" },
    { nick: alice.nick, role: "visitor" });
  assert.equal(await refusal(change), "not-allowed cancel");
  assert.deepEqual(await room.names(alice, { role: "visitor" }), [carol.nick]);
});

for (const allow of [true, false])
  test(`§8.6 a request for voice is ${allow ? "approved" : "denied"}`, async () => {
    const room = await stage();
    await room.tell(carol, submit(REQUEST, { "muc#role": "participant" }));
    for (const client of [alice, bob]) {
      const form = await room.asked(client);
      assert.equal(form.FORM_TYPE, REQUEST);
      assert.equal(form["muc#role"], "participant");
      assert.equal(form["muc#roomnick"], carol.nick);
      assert.equal(form["muc#jid"], carol.jid);
      assert.match(form["muc#request_allow"], /^(0|false)$/);
      if (client === bob)
        await room.tell(bob, submit(REQUEST, { ...form, "muc#request_allow": allow }));
    }
    if (allow) assert.equal((await room.seen(carol, carol)).standing, "none participant");
    else await room.nothing([bob, carol], (s) => s.is("presence"));
    const id = await room.say(carol, "thank you");
    if (allow) await room.heard(alice, carol, "thank you");
    else assert.equal(await room.messageError(carol, id), "forbidden auth");
  });
