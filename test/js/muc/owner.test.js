/* What owners do (XEP-0045 §10). */
import assert from "node:assert/strict";
import { test } from "node:test";
import { cast, codesOf, coven, ctl, info, MUC, refusal, Room, USER, xml } from "../muc.js";

const [alice, bob, carol, dave] = cast("alice", "bob", "carol", "dave");
const all = [alice, bob, carol];

/* --- §10.1: to create --- */

test("§10.1.1 who makes a room owns it, and it is locked", async () => {
  const room = new Room();
  const { own } = await room.enter(alice);
  assert.ok(own.has(110, 201));
  assert.equal(own.standing, "owner moderator");
  assert.equal(await room.refused(bob), "item-not-found cancel");
});

test("§10.1.1 where making rooms is restricted", async () => {
  ctl("set", "muc.create", "administrators");
  try {
    assert.equal(await new Room().refused(alice), "not-allowed cancel");
  } finally {
    ctl("set", "muc.create", "everyone");
  }
});

test("§10.1.2 an instant room", async () => {
  const room = new Room();
  await room.enter(alice);
  await room.configure(alice);
  const { own } = await room.enter(bob);
  assert.ok(!own.has(201));
  assert.equal(own.standing, "none participant");
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

test("§10.1.3 a password that is blank is not acceptable", async () => {
  const room = new Room();
  await room.enter(alice);
  const form = room.configure(alice, { passwordprotectedroom: true, roomsecret: "" });
  assert.equal(await refusal(form), "not-acceptable modify");
  assert.equal(await room.refused(bob), "item-not-found cancel", "it is still locked");
});

test("§10.1.3 a room that is given up is destroyed", async () => {
  const give = {
    cancel: (room) => room.cancel(alice),
    leave: (room) => room.leave(alice).then((gone) => assert.ok(!gone.destroy)), // §7.14 first
  };
  for (const [how, act] of Object.entries(give)) {
    const room = new Room();
    await room.enter(alice);
    await act(room);
    const gone = await room.gone(alice, alice);
    assert.ok(gone.destroy && (how === "leave" || gone.has(110)), `${gone.stanza}`);
    assert.equal(await refusal(info(bob, room.jid)), "item-not-found cancel", how);
  }
});

/* --- §10.2: to configure --- */

test("§10.2 the form shows what is configured", async () => {
  const room = await coven({ roomname: "A Dark Cave", maxusers: 10 }, alice, bob);
  await room.configure(alice, { roomdesc: "For all good witches!", whois: "moderators" });
  const form = await room.configuration(alice);
  assert.equal(form["muc#roomconfig_roomname"], "A Dark Cave");
  assert.equal(form["muc#roomconfig_roomdesc"], "For all good witches!");
  assert.equal(form["muc#roomconfig_maxusers"], "10");
  assert.equal(form["muc#roomconfig_whois"], "moderators");
  assert.deepEqual(form["muc#roomconfig_roomowners"], [alice.bare]);
});

test("§10.2 nobody else configures", async () => {
  const room = await coven({ roomname: "A Dark Cave" }, alice, bob);
  await room.change(alice, { jid: bob.bare, affiliation: "admin" });
  for (const client of [bob, carol]) {
    assert.equal(await refusal(room.configuration(client)), "forbidden auth");
    assert.equal(await refusal(room.configure(client, { roomname: "Mine" })), "forbidden auth");
  }
  assert.equal((await info(bob, room.jid)).identities[0].name, "A Dark Cave");
});

test("§10.2 what is cancelled stays as it was", async () => {
  const room = await coven({ roomname: "A Dark Cave" }, alice, bob);
  const before = await room.configuration(alice);
  await room.cancel(alice);
  assert.deepEqual(await room.configuration(alice), before);
  await room.say(bob, "still here");
  await room.heard(alice, bob, "still here");
});

test("§10.2 owners and admins by the form", async () => {
  const room = await coven({}, alice, bob, carol);
  const steps = [
    [{ roomadmins: [bob.bare] }, bob, "admin moderator"],
    [{ roomadmins: [] }, bob, "member participant"],
    [{ roomowners: [alice.bare, carol.bare] }, carol, "owner moderator"],
    [{ roomowners: [alice.bare] }, carol, "admin moderator"],
  ];
  for (const [fields, who, standing] of steps) {
    await room.configure(alice, fields);
    for (const client of all) assert.equal((await room.seen(client, who)).standing, standing);
  }
});

test("§10.2 the last owner does not go by the form", async () => {
  const room = await coven({}, alice);
  const form = room.configure(alice, { roomowners: [] });
  assert.match(await refusal(form), /^(conflict cancel|not-acceptable modify)$/);
  assert.deepEqual(await room.names(alice, { affiliation: "owner" }), [alice.bare]);
});

test("§10.2 a room that becomes members-only loses all others", async () => {
  const room = await coven({}, alice, bob, carol);
  await room.change(alice, { jid: bob.bare, affiliation: "member" });
  await room.configure(alice, { membersonly: true });
  for (const client of all) {
    const gone = await room.gone(client, carol);
    assert.ok(gone.has(322), `${gone.stanza}`);
    assert.equal(gone.has(110), client === carol);
  }
  await room.say(bob, "still here");
  await room.heard(alice, bob, "still here");
});

test("§10.2.1 all are told what changed", async () => {
  const room = await coven({ persistentroom: true, enablearchiving: false, whois: "anyone" },
    ...all);
  const steps = [
    [{ enablearchiving: true }, 170], [{ enablearchiving: false }, 171],
    [{ whois: "moderators" }, 173], [{ whois: "anyone" }, 172], [{ roomname: "Heath" }, 104],
  ];
  for (const [fields, code] of steps) {
    await room.configure(alice, fields);
    for (const client of all) {
      const told = await room.told(client, "status");
      assert.equal(told.attrs.type, "groupchat");
      assert.deepEqual(codesOf(told), [code]);
      assert.deepEqual(told.getChild("x", USER).getChildElements().map((e) => e.name), ["status"]);
    }
  }
});

/* --- §10.3 to §10.8: owners and admins --- */

for (const [affiliation, granted, revoked] of [["owner", "§10.3", "§10.4"],
  ["admin", "§10.6", "§10.7"]]) {
  test(`${granted} the status of ${affiliation} is granted`, async () => {
    const room = await coven({}, alice, bob, carol);
    const reason = "A worthy witch indeed!";
    await room.change(alice, { jid: carol.bare, affiliation, reason });
    for (const client of all) {
      const seen = await room.seen(client, carol);
      assert.deepEqual([seen.standing, seen.reason], [`${affiliation} moderator`, reason]);
    }
    await room.change(alice, { jid: dave.jid, affiliation });
    const named = await room.names(alice, { affiliation });
    assert.ok(named.includes(carol.bare) && named.includes(dave.bare), "by the bare address");
  });

  test(`${granted} by owners alone`, async () => {
    const room = await coven({}, alice, bob, carol);
    await room.change(alice, { jid: bob.bare, affiliation: "admin" });
    for (const client of [bob, carol, dave]) {
      const grant = room.change(client, { jid: dave.bare, affiliation });
      assert.equal(await refusal(grant), "forbidden auth", client.name);
    }
  });

  test(`${revoked} the status of ${affiliation} is revoked`, async () => {
    const room = await coven({}, alice, bob, carol);
    await room.change(alice, { jid: carol.bare, affiliation });
    await room.forget(...all);
    const reason = "Not so worthy after all!";
    await room.change(alice, { jid: carol.bare, affiliation: "member", reason });
    for (const client of all) {
      const seen = await room.seen(client, carol);
      assert.deepEqual([seen.standing, seen.reason], ["member participant", reason]);
    }
    const named = await room.names(alice, { affiliation });
    assert.ok(!named.includes(carol.bare));
  });

  test(`${revoked} by owners alone`, async () => {
    const room = await coven({}, alice, bob, carol);
    await room.change(alice, { jid: bob.bare, affiliation: "admin" },
      { jid: dave.bare, affiliation });
    for (const client of [bob, carol]) {
      const revoke = room.change(client, { jid: dave.bare, affiliation: "none" });
      assert.match(await refusal(revoke), /^(forbidden auth|not-allowed cancel)$/);
    }
    assert.ok((await room.names(alice, { affiliation })).includes(dave.bare));
  });
}

const CHANGES = [["§10.3", "none", "owner"], ["§10.4", "owner", "admin"],
  ["§10.6", "none", "admin"], ["§10.7", "admin", "none"]];
for (const [section, from, affiliation] of CHANGES)
  test(`${section} an owner is told of success, then all of what it means`, async () => {
    const room = await coven({}, alice, bob);
    await room.change(alice, { jid: bob.bare, affiliation: from });
    await room.forget(alice);
    const act = () => room.change(alice, { jid: bob.bare, affiliation });
    assert.deepEqual(await room.order(alice, act), ["iq", "presence"]);
  });

test("§10.4 an owner resigns, but not the last one", async () => {
  const room = await coven({}, alice, bob);
  const resign = () => room.change(alice, { jid: alice.bare, affiliation: "admin" });
  assert.equal(await refusal(resign()), "conflict cancel");
  await room.change(alice, { jid: bob.bare, affiliation: "owner" });
  await resign();
  assert.equal((await room.seen(bob, alice)).standing, "admin moderator");
  assert.deepEqual(await room.names(bob, { affiliation: "owner" }), [bob.bare]);
});

for (const [affiliation, section] of [["owner", "§10.5"], ["admin", "§10.8"]]) {
  test(`${section} the ${affiliation} list`, async () => {
    const room = await coven({}, alice, bob, carol);
    const first = affiliation === "owner" ? [alice.bare] : [];
    const names = () => room.names(alice, { affiliation });
    assert.deepEqual(await names(), first);
    await room.change(alice, { jid: bob.bare, affiliation }, { jid: carol.bare, affiliation });
    assert.deepEqual(await names(), [...first, bob.bare, carol.bare]);
    await room.change(alice, { jid: bob.bare, affiliation: "none" },
      { jid: dave.bare, affiliation });
    assert.deepEqual(await names(), [...first, carol.bare, dave.bare]);
    for (const item of await room.list(alice, { affiliation }))
      assert.equal(item.affiliation, affiliation);
    const standings = [];
    for (let i = 0; i < 2; i++) standings.push((await room.seen(carol, bob)).standing);
    assert.deepEqual(standings, [`${affiliation} moderator`, "none participant"]);
  });

  test(`${section} in a semi-anonymous room it is for owners`, async () => {
    const room = await coven({ whois: "moderators" }, alice, bob, carol);
    await room.change(alice, { jid: bob.bare, affiliation: "admin" });
    for (const client of [bob, carol, dave])
      assert.equal(await refusal(room.list(client, { affiliation })), "forbidden auth");
  });
}

/* --- §10.9: to destroy --- */

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

test("§10.9 nobody else destroys it", async () => {
  const room = await coven({}, alice, bob);
  await room.change(alice, { jid: bob.bare, affiliation: "admin" });
  for (const client of [bob, carol])
    assert.equal(await refusal(room.owner(client, "set", xml("destroy"))), "forbidden auth");
  await room.say(bob, "still here");
  await room.heard(alice, bob, "still here");
});
