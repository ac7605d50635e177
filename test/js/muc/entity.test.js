/* What anybody asks about rooms (XEP-0045 §6). */
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  cast, coven, DISCO_INFO, DISCO_ITEMS, DOMAIN, info, items, MUC, refusal, Room, SERVICE, xml,
} from "../muc.js";

const RSM = "http://jabber.org/protocol/rsm";
const [alice, bob, carol] = cast("alice", "bob", "carol");

const listed = async (client) => (await items(client, SERVICE)).map((item) => item.jid);

test("§6.1 the server names the service", async () => {
  const found = await items(alice, DOMAIN);
  assert.ok(found.some((item) => item.jid === SERVICE && item.name));
});

test("§6.2 the service says what it is and does", async () => {
  const { identities, features } = await info(alice, SERVICE);
  assert.ok(identities.some((i) => i.category === "conference" && i.type === "text" && i.name));
  for (const feature of [MUC, DISCO_INFO, DISCO_ITEMS]) assert.ok(features.includes(feature));
});

test("§6.3 rooms that are public are listed by name, hidden ones are not", async () => {
  const open = await coven({ publicroom: true, roomname: "A Dark Cave" }, alice);
  const hidden = await coven({ publicroom: false }, alice);
  const found = await items(bob, SERVICE);
  assert.equal(found.find((item) => item.jid === open.jid).name, "A Dark Cave");
  assert.ok(!found.some((item) => item.jid === hidden.jid));
  await open.configure(alice, { publicroom: false });
  assert.ok(!(await listed(bob)).includes(open.jid));
});

test("§6.3 a list in pages says that it is not all", async () => {
  const made = [];
  for (let i = 0; i < 3; i++) made.push((await coven({ publicroom: true }, alice)).jid);
  const all = await listed(bob);
  let found = [];
  let after;
  for (;;) {
    const page = xml("set", RSM, xml("max", {}, "2"), after && xml("after", {}, after));
    const query = await bob.iq("get", SERVICE, xml("query", DISCO_ITEMS, page));
    const here = query.getChildren("item").map((item) => item.attrs.jid);
    if (here.length === 0) break;
    const set = query.getChild("set", RSM);
    assert.equal(set.getChildText("count"), String(all.length));
    assert.equal(set.getChildText("first"), here[0]);
    assert.equal(set.getChild("first").attrs.index, String(found.length));
    assert.equal((after = set.getChildText("last")), here.at(-1));
    assert.ok(here.length <= 2);
    found = [...found, ...here];
  }
  assert.deepEqual(found, all);
  assert.ok(made.every((jid) => found.includes(jid)));
});

test("§6.4 a room says what it is and does", async () => {
  const room = await coven(
    {
      roomname: "A Dark Cave", passwordprotectedroom: true, roomsecret: "cauldronburn",
      publicroom: false, whois: "anyone",
    },
    alice,
  );
  const of = ["muc_passwordprotected", "muc_hidden", "muc_temporary", "muc_open",
    "muc_unmoderated", "muc_nonanonymous", MUC, `${MUC}#stable_id`];
  const { identities, features } = await info(bob, room.jid);
  assert.deepEqual(identities, [{ category: "conference", type: "text", name: "A Dark Cave" }]);
  assert.deepEqual(of.filter((feature) => !features.includes(feature)), []);
  await room.configure(alice, {
    passwordprotectedroom: false, publicroom: true, persistentroom: true, membersonly: true,
    moderatedroom: true, whois: "moderators",
  });
  const now = (await info(bob, room.jid)).features;
  const others = ["muc_unsecured", "muc_public", "muc_persistent", "muc_membersonly",
    "muc_moderated", "muc_semianonymous"];
  assert.deepEqual(others.filter((feature) => !now.includes(feature)), []);
  assert.deepEqual(of.filter((f) => f.startsWith("muc_") && now.includes(f)), []);
});

test("§6.4 a room tells more about itself", async () => {
  const room = await coven({ roomdesc: "For all good witches!", lang: "en" }, alice, bob);
  await room.subject(alice, "Spells");
  await room.heardSubject(bob, alice, "Spells");
  const { room: said } = await info(carol, room.jid);
  assert.equal(said["muc#roominfo_description"], "For all good witches!");
  assert.equal(said["muc#roominfo_subject"], "Spells");
  assert.equal(said["muc#roominfo_occupants"], "2");
  assert.equal(said["muc#roominfo_lang"], "en");
  assert.equal([said["muc#roominfo_contactjid"]].flat()[0], alice.bare);
});

test("§6.4 of a room that does not exist nothing is said", async () => {
  assert.equal(await refusal(info(alice, new Room().jid)), "item-not-found cancel");
});

test("§6.5 who is in a public room is told, of a hidden one not", async () => {
  const room = await coven({ publicroom: true }, alice, bob);
  const of = async (client) => (await items(client, room.jid)).map((item) => item.jid).sort();
  assert.deepEqual(await of(carol), [room.at(alice), room.at(bob)]);
  await room.configure(alice, { publicroom: false });
  assert.deepEqual(await of(carol), []);
  assert.deepEqual(await of(bob), [room.at(alice), room.at(bob)]);
});

test("§6.6 who is not in a room asks nothing of those who are", async () => {
  const room = await coven({}, alice, bob);
  assert.equal(await refusal(info(carol, room.at(bob))), "bad-request modify");
  assert.equal(await refusal(items(carol, room.at(bob))), "bad-request modify");
});

test("§6.6 an occupant is asked through the room, which hides who it is", async () => {
  const room = await coven({ whois: "moderators" }, alice, bob);
  const asked = new Promise((resolve) => {
    bob.xmpp.iqCallee.get(DISCO_INFO, "query", (context) => {
      resolve(context.stanza);
      return xml("query", DISCO_INFO, xml("feature", { var: "urn:example:newt" }));
    });
  });
  const request = xml("iq", { type: "get", to: room.at(bob) }, xml("query", DISCO_INFO));
  const answer = await alice.xmpp.iqCaller.request(request);
  assert.equal((await asked).attrs.from, room.at(alice));
  assert.equal(answer.attrs.from, room.at(bob));
  assert.equal(answer.getChild("query").getChild("feature").attrs.var, "urn:example:newt");
  assert.ok(!`${answer}`.includes(bob.bare) && !`${await asked}`.includes(alice.bare));
});

test("§6.7 a client says that it knows rooms, and in which ones it is", async () => {
  const room = await coven({}, alice, carol);
  carol.xmpp.iqCallee.get(DISCO_INFO, "query", () =>
    xml("query", DISCO_INFO, xml("feature", { var: MUC })));
  carol.xmpp.iqCallee.get(DISCO_ITEMS, "query", ({ element }) => {
    const { node } = element.attrs;
    return xml("query", { xmlns: DISCO_ITEMS, node }, xml("item", { jid: room.jid }));
  });
  assert.deepEqual((await info(bob, carol.jid)).features, [MUC]);
  const found = await items(bob, carol.jid, `${MUC}#rooms`);
  assert.deepEqual(found.map((item) => item.jid), [room.jid]);
});
