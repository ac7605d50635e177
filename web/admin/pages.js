/* The pages as data: in which order, and what is shown first. Nothing else about a page is written
 * down; it follows from the rows of commands (rows.js). Commands whose noun and area no page names
 * get a page of their own. `view` is a page of its own making (views in main.jsx); `settings`: those
 * that decide most of what happens there, of one first word. */
export const pages = [
  { id: "dashboard", view: "dashboard", nouns: ["status", "metrics"] },
  { id: "alarms", areas: ["alarms"], nouns: ["alarm"], first: ["alarm list", "alarm history"] },
  { id: "users", group: "people", areas: ["users", "contacts", "policies", "devices"],
    first: ["user list"], make: ["user add", "user invite"] },
  { id: "groups", group: "people", areas: ["groups"], nouns: ["group"], first: ["group list"], make: ["group add"] },
  { id: "templates", group: "people", areas: ["templates"], first: ["template list"], make: ["template add"] },
  { id: "sessions", group: "people", areas: ["sessions"], first: ["session list"] },
  { id: "rooms", group: "people", areas: ["rooms"], nouns: ["room"], first: ["room report", "room list"],
    make: ["room create", "room cleanup", "room-admin add", "room-alias add"] },
  { id: "reports", group: "people", areas: ["reports"] },
  { id: "uploads", group: "people", areas: ["uploads", "archive", "compliance"] },
  { id: "announcements", group: "people", areas: ["announcements"],
    make: ["announce", "motd set"] },
  { id: "certificates", group: "network", areas: ["certificates"],
    first: ["cert show", "cert findings", "cert list"], make: ["cert csr", "cert install"] },
  { id: "federation", group: "network", areas: ["federation", "streams"], first: ["s2s list", "s2s-route list"],
    make: ["s2s trace", "s2s-route add", "s2s-demand set", "federation block"],
    settings: ["s2s.policy", "s2s.domains", "s2s.require-tls", "s2s.dialback"] },
  { id: "components", group: "network", areas: ["components"], make: ["component add"] },
  { id: "tests", group: "network", areas: ["tests"], first: ["test history"],
    make: ["imtest", "fedtest", "pushtest", "test user-add"],
    plots: { "test history": { time: "time", value: "latency_ms", by: "test", unit: "unit.ms" } } },
  { id: "settings", group: "server", view: "settings", areas: ["settings"] },
  { id: "services", group: "server", areas: ["server", "secrets"],
    make: ["server reload", "server restart"] },
  { id: "logs", group: "server", view: "logs", areas: ["log"], first: ["log list"], make: ["log level"] },
  { id: "traces", group: "server", areas: ["trace"], nouns: ["trace"], first: ["trace message"] },
  { id: "backup", group: "server", areas: ["backup"], first: ["backup list"], make: ["backup create"] },
  { id: "jobs", group: "server", areas: ["jobs"], first: ["job list"] },
  { id: "webhooks", group: "server", areas: ["webhooks"], first: ["webhook list"], make: ["webhook add"] },
  { id: "audit", group: "access", areas: ["audit"], first: ["audit list"] },
  { id: "access", group: "access", areas: ["admins"], first: ["admin list", "token list", "role list"],
    make: ["admin create", "admin add", "token add", "role set"] },
];

export const noun = (command) => command.name.split(" ")[0];

/* A command is on the page that names its noun, else on the one that names its area, else on a page
 * that is made for the area. So each has exactly one. */
export function pageOf(command, area = command.area) {
  return (
    pages.find((page) => page.nouns?.includes(noun(command))) ||
    pages.find((page) => page.areas?.includes(area)) || { id: area, group: "more", areas: [area] }
  );
}

/* What is done often with a line of a list has a button in the line, if the line lets it. */
export const quick = {
  "alarm list": { "alarm acknowledge": (row) => row.active && !row.acknowledged },
  "group list": { "group-member add": () => true },
  "session list": { "session kick": () => true },
  "job list": { "job cancel": () => true },
  "backup list": { "backup verify": (row) => row.database !== undefined },
  "device list": { "device revoke": () => true },
  "token list": { "token revoke": () => true },
  "admin sessions": { "admin end-session": () => true },
};

/* What is offered for some lines of a list only. A job is canceled by somebody who may run its
 * command: some are run at the server's host only. */
export const possible = {
  "job cancel": (row, rows) => row.state === "running" && rows.commands.has(row.command),
  "config confirm": (row) => row.state === "waits",
};

/* Buttons of a thing that are left out where they would change nothing, or be refused. */
const isProtected = (row) => row.protected === true;
const isKept = (row) => row.own === true || isProtected(row);
export const useless = {
  "user set": isProtected,
  "user password": isKept,
  "user del": isKept,
  "user enable": (row) => row.disabled === false || isProtected(row),
  "user disable": (row) => row.disabled === true || isKept(row),
  "room unlock": (row) => row.locked === false,
};

/* Kinds of things that can get another name, of which whoever may run this command is told how. */
export const renamed = { user: "user set" };

/* The same where a list has what they are for: the list, its column with the name of the thing, and
 * what else a line must have. */
export const listed = {
  "test user-del": ["test users", "jid"],
  "trace stop": ["trace list", "jid"],
  "s2s close": ["s2s list", "domain"],
  "component del": ["component list", "domain"],
  "component secret": ["component list", "domain"],
  "admin remove": ["admin list", "name", (row) => row.source === "admin add"], // one of a setting stays
};

/* What is done often with a thing comes first; the rest is by pages. */
export const frequent = {
  user: ["user set", "user password", "session kick", "user disable", "user enable"],
  room: ["room set", "room kick", "room affiliation"],
  group: ["group-member add", "group-member del", "group set"],
  partner: ["s2s retry", "s2s close"],
};

/* Changes that are made only if nobody else has changed the thing since the form read it: where the
 * API has the thing, and the argument that names it. */
export const compared = {
  "user set": ["/users/", "jid"],
  "room change": ["/rooms/", "room"],
  "group set": ["/groups/", "name"],
  "alarm set": ["/alarms/", "alarm"],
};

/* Things that have a page of their own, and the arguments and columns that name one: by what they
 * refer to, or else by their types. A domain is another server's, a component's, or the server's own;
 * "hosted" is any but the first. */
export const kinds = {
  user: { types: ["user", "session"], page: "users", show: "user show", photo: "user photo",
    without: ["user role", "user photo"], // few have a role: the page of administrators shows them
    first: ["user stats", "session list", "contact list", "device list", "presence view", "user vcard",
      "user groups", "user blocked", "policy show", "user archive", "upload quota"] },
  room: { types: ["room"], page: "rooms", show: "room show",
    first: ["room occupants", "room affiliations", "room fields"] },
  group: { types: ["group"], page: "groups", show: "group show", first: ["group-member list"] },
  partner: { types: ["partner"], page: "federation", show: "s2s show",
    without: ["federation allow"] }, // it is done in the list of those that are blocked
  component: { types: ["component", "hosted"], page: "components" },
  domain: { types: ["served-domain", "hosted"], page: "certificates", show: "domain show" },
};
