/* All text of the console, by name. Another language is another table of the same names. Texts of
 * commands, settings and errors come from the server. */
import { pageOf } from "./pages.js";

const english = {
  "app.title": "Muster",
  "app.skip": "Skip to the content",
  "app.menu": "Menu",
  "app.pages": "Pages",
  "app.logout": "Log out",
  "app.loading": "Loading …",
  "app.away": "The server does not answer. It is asked again every few seconds, and this page goes on when it is back. What you have typed stays.",
  "app.waits": "The server is not ready: {why}. It is asked again every few seconds, and this page goes on when it is. What you have typed stays.",
  "app.nothing": "There is no such page, or your role does not include it.",
  "app.close": "Close",
  "app.token": "token {name}",
  "app.api": "Reference of the API",
  "app.zone": "Times are in the zone of this machine: {zone}.",
  "app.broken": "This page does not work: {error}",
  "login.title": "Log in to Muster",
  "login.name": "Name",
  "login.password": "Password",
  "login.code": "Code of your authenticator, or a recovery code",
  "login.go": "Log in",
  "login.agree": "I have read this and agree",
  "login.token": "Access token",
  "login.with-token": "Log in with an access token",
  "login.with-password": "Log in with a password",
  "login.hint": "To make a token, run on the server: musterctl token add NAME administrator",
  "login.over": "Your session has ended. Log in again.",
  "login.too-old": "Your password is too old. Choose another one to go on.",
  "login.new-password": "New password",
  "login.new-again": "New password again",
  "login.not-the-same": "The two passwords are not the same.",
  "login.change": "Change the password",
  "login.factor": "Second factor",
  "login.factor-why": "Your role needs a second factor. Give this secret to an authenticator app, then type the code that the app shows.",
  "login.in-app": "Open it in an app on this device",
  "login.first-code": "Code of the app",
  "login.confirm": "Turn it on",
  "login.recovery": "Recovery codes",
  "login.recovery-why": "Each of them replaces a code once, if you lose the app. Keep them in a safe place. They are not shown again.",
  "login.kept": "I have kept them",
  "confirm.title": "Confirm that it is you",
  "confirm.why": "This act needs your password again.",
  "page.dashboard": "Dashboard",
  "page.alarms": "Alarms",
  "page.users": "Users",
  "page.groups": "Groups",
  "page.sessions": "Sessions",
  "page.rooms": "Rooms",
  "page.reports": "Reports of users",
  "page.uploads": "Archive and files",
  "page.announcements": "Announcements",
  "page.certificates": "Domains and certificates",
  "page.federation": "Federation",
  "page.components": "Components",
  "page.tests": "Tests",
  "page.settings": "Settings",
  "page.services": "Services",
  "page.logs": "Logs",
  "page.traces": "Message trace",
  "page.backup": "Backup",
  "page.jobs": "Jobs",
  "page.webhooks": "Webhooks",
  "page.audit": "Audit log",
  "page.access": "Administrators and tokens",
  "kind.user": "User",
  "kind.room": "Room",
  "kind.group": "Group",
  "kind.partner": "Partner",
  "kind.component": "Component",
  "kind.domain": "Domain",
  "group.people": "People",
  "group.network": "Network",
  "group.server": "Server",
  "group.access": "Access",
  "group.more": "More",
  "page.lists": "Lists of this page",
  "page.all": "All commands of this page",
  "page.local": "On the server's host, with musterctl",
  "thing.acts": "Actions",
  "thing.often": "Often used",
  "thing.more": "More",
  "thing.danger": "Cannot be undone",
  "thing.gone": "{name} is no longer there.",
  "find.go": "Search",
  "find.title": "Search",
  "find.what": "Page, command, setting, user or room",
  "find.count": "Found: {n}",
  "find.more": "The first {n} of what was found. Type more of what you look for.",
  "find.page": "Page",
  "notice.banner": "Notice of this server",
  "notice.restart": "Restart",
  "notice.needed": "A restart is needed: {why}",
  "table.empty": "Nothing here.",
  "table.find": "Find in this list",
  "table.next": "Next page",
  "table.previous": "Previous page",
  "table.range": "Rows {from} to {to}",
  "table.incomplete": "A node did not answer, and what it has is missing here.",
  "table.first": "First page",
  "table.more": "Show more",
  "table.all": "All columns",
  "table.reload": "Reload",
  "table.csv": "CSV",
  "table.show": "Show",
  "table.asked": "The audit log notes each look. Fill in what you know, then press Show.",
  "table.rows": "Rows: {n}",
  "table.acts": "Details and actions",
  "table.any": "any",
  "table.sort": "Sort by {name}",
  "form.run": "Run",
  "form.danger": "Yes, do it",
  "form.cancel": "Cancel",
  "form.done": "Done.",
  "form.more": "There are more than these.",
  "form.many": "several, separated by spaces",
  "form.made": "the server makes one if this is empty",
  "form.allowed": "allowed: {allowed}",
  "form.unchanged": "not given",
  "rename.title": "Rename",
  "rename.how": "An account gets another address only while the server is stopped. On the machine of the server, stop it, run this line as root with the new name in place of NEW, and start it again. Everything that the account has comes with it.",
  "rename.copy": "Copy",
  "rename.copied": "The line is copied.",
  "form.runs": "It runs …",
  "form.lines": "{count} lines were read …",
  "form.saved": "The file has {count} lines.",
  "form.changed": "Somebody else has changed this since the form read it. Nothing was changed now. If you read it again, the form shows what is there, in place of what you have typed.",
  "form.unknown": "The server did not answer an earlier try, and what is there now is not what this form has sent. Nothing was changed now. If you read it again, the form shows what is there, in place of what you have typed.",
  "form.read-again": "Read it again",
  "form.losses": "What goes with it",
  "settings.all": "Settings",
  "settings.find": "Search name or text",
  "settings.changed": "Changed only",
  "settings.count": "{n} of {all} settings",
  "settings.default": "default",
  "settings.value": "Value",
  "settings.restart": "needs a restart of: {part}",
  "settings.locked": "fixed in the node file",
  "settings.local": "can only be set on the server's host",
  "settings.by": "changed by {who}, {at}",
  "settings.keep": "Put into the candidate",
  "settings.reset": "Default",
  "settings.candidate": "Changes in the candidate that do not apply yet: {n}",
  "settings.apply": "Check and apply",
  "settings.drop": "Drop all",
  "settings.unconfirmed": "Version {version} of the settings, applied by {who}, goes back by itself at {at} unless it is confirmed.",
  "settings.waits": "Settings wait for confirmation",
  "settings.confirm": "Confirm",
  "settings.back": "Roll back",
  "settings.show": "Show setting {name}",
  "dashboard.state": "State of the server",
  "dashboard.alarms": "Active alarms",
  "dashboard.quiet": "No alarm is active.",
  "dashboard.sessions": "Sessions",
  "dashboard.rooms": "Rooms",
  "dashboard.received": "Messages a second",
  "dashboard.sent": "Stanzas sent a second",
  "dashboard.logins": "Logins a second",
  "dashboard.commit": "A commit of the store",
  "dashboard.processor": "Processor by worker",
  "dashboard.federation": "Streams with other servers",
  "dashboard.stored": "Stored, and waiting for other servers",
  "dashboard.queue": "Waiting for the store",
  "dashboard.memory": "Memory",
  "dashboard.range": "Time shown",
  "dashboard.minutes": "{n} minutes",
  "dashboard.hours": "{n} hours",
  "unit.sessions": "sessions", "unit.per-second": "a second", "unit.rooms": "rooms", "unit.ms": "ms",
  "unit.mib": "MiB", "unit.percent": "%", "unit.streams": "streams", "unit.messages": "messages", "unit.waiting": "writes waiting",
  "plot.reset": "Whole time",
  "plot.label": "{name}, {unit}, {from} to {to}: now {last}, lowest {low}, highest {high}",
  "plot.none": "{name}: no values yet",
  "logs.tail": "Live",
  "logs.find": "Only lines with this text",
  "logs.pause": "Pause",
  "logs.go": "Go on",
  "logs.broke": "{at}: the stream has ended ({why}); another one goes on.",
  "logs.lost": "Lines that are missing here, since the server does not have them any more: {n}",
  "logs.unknown": "nobody said why",
  "logs.none": "The server has no live log for you now.",
  "do.admin delete": "Delete administrator", "do.admin disable": "Disable", "do.admin enable": "Enable",
  "do.admin password": "New password", "do.admin recovery-codes": "New recovery codes", "do.admin role": "Change role",
  "do.admin totp": "Make a second factor", "do.admin totp-confirm": "Turn the second factor on",
  "do.admin totp-remove": "Take the second factor away", "do.admin unlock": "Unlock the login",
  "do.alarm set": "Change alarm", "do.alarm show": "Alarm", "do.alarm test": "Send a test alarm",
  "do.announce": "New announcement", "do.archive events": "Corrections and retractions",
  "do.archive expire": "Delete old messages now", "do.archive read": "Messages of a user",
  "do.config confirm": "Confirm", "do.config diff": "Candidate", "do.config drop": "Drop from the candidate",
  "do.config edit": "Put into the candidate", "do.config reset": "Back to defaults", "do.config show": "Values and origins",
  "do.get": "Setting", "do.set": "Change a setting at once",
  "do.job cancel": "End job", "do.job list": "Jobs", "do.job show": "Job",
  "do.metrics": "Counters and gauges", "do.metrics history": "Values over time", "do.metrics series": "Metrics with a history",
  "do.motd del": "Delete the message of the day", "do.motd edit": "Change the message of the day",
  "do.motd set": "New message of the day", "do.motd show": "Message of the day",
  "do.room show": "Room", "do.room-admin del": "Remove room administrator", "do.room-alias del": "Delete alias",
  "do.secrets reset": "Delete unreadable secrets", "do.server continue": "Cancel the scheduled end",
  "do.server reload": "Read the files again", "do.server restart": "Restart the server", "do.server stop": "Stop the server",
  "do.snmp show": "SNMP", "do.status": "State of the server",
  "do.trace bodies": "Trace with texts", "do.trace texts": "Traced texts",
  "do.upload del": "Delete file", "do.upload sweep": "Remove unused files now",
  "do.user show": "User", "do.webhook show": "Webhook",
  "do.user list": "All users", "do.user online": "Online", "do.contact full": "Full contact lists",
  "do.user add": "New user", "do.user invite": "Invite", "do.user invite-contact": "Invite a contact",
  "do.user stats": "Facts", "do.user last": "Last seen", "do.user password": "New password",
  "do.user set": "Edit", "do.user disable": "Disable", "do.user enable": "Enable",
  "do.user vcard": "vCard", "do.user groups": "Groups", "do.user blocked": "Blocked",
  "do.user archive": "Archive", "do.upload quota": "Quota of files",
  "do.user del": "Delete user", "do.user count": "Count", "do.session list": "Sessions",
  "do.session report": "Report", "do.session kick": "Close sessions", "do.contact list": "Contacts",
  "do.contact add": "Add contacts", "do.contact del": "Remove a contact",
  "do.contact group": "Move to a group", "do.device list": "Devices",
  "do.device revoke": "Revoke a device", "do.presence view": "Who sees whom",
  "do.policy show": "Policy", "do.policy set": "Change policy", "do.push list": "Push",
  "do.upload list": "Files", "do.federation show": "Federation",
  "do.federation set": "Change federation", "do.federation address": "Public address",
  "do.admin add": "Give an account a role", "do.admin remove": "Take the role", "do.admin list": "Administrators",
  "do.admin create": "New administrator", "do.admin sessions": "Sessions", "do.admin end-session": "End session",
  "do.admin show": "Administrator", "do.user role": "Role of an account",
  "do.node list": "Nodes", "do.node show": "Node", "do.domain list": "Domains", "do.domain show": "Domain",
  "do.token list": "Tokens", "do.token show": "Token", "do.token add": "New token", "do.token revoke": "Revoke token",
  "do.role list": "Roles", "do.role show": "Role", "do.role set": "New role", "do.role del": "Delete role",
  "do.group list": "All groups", "do.group add": "New group", "do.group show": "What it is made of", "do.group set": "Change group",
  "do.group del": "Delete group", "do.group-member add": "Add members", "do.group-member del": "Take out members",
  "do.group-member list": "Members",
  "do.room list": "List", "do.room report": "Rooms", "do.room create": "New room",
  "do.room cleanup": "Clean up", "do.room occupants": "Occupants", "do.room affiliations": "Members",
  "do.room affiliation": "Change a member", "do.room fields": "Configuration", "do.room joins": "Joins",
  "do.room change": "Change", "do.room set": "Change configuration", "do.room destroy": "Delete room", "do.room kick": "Kick",
  "do.room owner": "Transfer ownership", "do.room unlock": "Unlock", "do.room-admin list": "Room administrators",
  "do.room-admin add": "New room administrator", "do.room-alias list": "Aliases",
  "do.room-alias add": "New alias", "do.room-alias report": "Use of aliases", "do.report list": "Reports",
  "do.report del": "Delete report", "do.cert list": "In use", "do.cert show": "Chains",
  "do.cert monitor": "Watch", "do.cert ocsp": "OCSP", "do.cert mail-test": "Send a test mail",
  "do.cert csr": "Request a certificate", "do.cert install": "Take a certificate into use", "do.cert findings": "What partners will dislike",
  "do.cert-trust list": "Trusted", "do.tls list": "TLS", "do.s2s list": "Streams", "do.s2s show": "Facts",
  "do.s2s trace": "Trace a domain", "do.s2s close": "Close streams", "do.s2s retry": "Connect now",
  "do.s2s-route list": "Routes", "do.s2s-route add": "New route", "do.s2s-route set": "Change route",
  "do.s2s-route del": "Delete route", "do.s2s-demand list": "Demands", "do.s2s-demand set": "New demand",
  "do.s2s-demand del": "Delete demand", "do.s2s-group list": "Departments and groups",
  "do.s2s-group set": "Change department or group", "do.s2s-group del": "Delete department or group",
  "do.federation list": "Blocked and allowed", "do.federation reports": "Reported",
  "do.federation block": "Block a domain", "do.federation allow": "Allow a domain",
  "do.component list": "Components", "do.component add": "New component",
  "do.backup list": "Backups", "do.backup create": "Make a backup", "do.backup verify": "Verify",
  "do.room download": "Export", "do.room export": "Save on the server",
  "do.component del": "Delete component", "do.test history": "History", "do.test users": "Test users", "do.test user-add": "New test user", "do.test user-del": "No test user any more",
  "do.webhook list": "Webhooks", "do.webhook add": "New webhook", "do.webhook del": "Delete webhook",
  "do.webhook events": "Events", "do.webhook test": "Send a test",
  "do.imtest": "Test messages", "do.fedtest": "Test federation", "do.pushtest": "Test push",
  "do.config candidate": "Candidates", "do.config history": "History", "do.config compare": "Compare versions",
  "do.config apply": "Check and apply", "do.config rollback": "Go back to a version", "do.config version": "Show version",
  "do.alarm list": "Active", "do.alarm history": "History", "do.alarm acknowledge": "Acknowledge",
  "do.audit list": "Entries", "do.audit verify": "Check the chain", "do.audit export": "Export",
  "do.doctor": "Diagnosis", "do.trace message": "Way of a message", "do.trace list": "Users under trace",
  "do.trace jid": "Trace a user", "do.trace stop": "Stop the trace", "do.log areas": "Areas", "do.log level": "Change level", "do.log trace": "Trace an area", "do.log list": "Newest lines",
  "yes": "yes",
  "no": "no",
};

/* A name that is not here is a programmer's mistake, but for pages: those of new areas have the
 * name of the area. */
export function t(name, values) {
  const text = english[name] ?? (name.startsWith("page.") ? titled(name.slice(5)) : undefined);
  if (text === undefined) throw new Error(`no text ${name}`);
  return text.replace(/\{(\w+)\}/g, (_, key) => values[key]);
}

/* Names of columns and arguments, where the words of the row are not those of people. */
const labels = {
  accounts_loaded: "Accounts in memory", adhoc: "Made by use", alarms: "Active alarms",
  also: "Also called", args: "Arguments", ask: "Has asked", at: "Time", auth: "Authentication",
  built_in: "Built in", by: "Way", change_subject: "Who sets the subject",
  bytes_max: "Most bytes", ciphers: "TLS 1.2 ciphers", cleared_when: "Cleared when",
  default_value: "Default", directory_uri: "Entry in the directory", doc: "Meaning", dry_run: "Only try",
  end_scheduled: "Scheduled end", engine_id: "Engine ID", entry: "Number", for: "For",
  files_max: "Most files", from: "From",
  groupchat1: "Old form of rooms", hidden_max: "Most hidden occupants",
  history_max: "Most history", latency_ms: "Latency in milliseconds", hold_down: "Wait before it is raised or cleared", id: "ID",
  hold_down_ms: "Milliseconds before it is raised or cleared",
  idle_s: "Idle for, seconds", is: "Value", item: "Stored text", jid: "Address", key: "Key",
  kind: "Kind", landing_url: "Page for the invited", made: "Made by", mail_to: "Mail goes to",
  mailed: "Mail sent", max: "Highest", meaning: "Meaning", min: "Lowest",
  new_owner: "New owner", next_look: "Next look", nick: "Nickname",
  not_after: "Valid until", not_before: "Valid from", occupants_max: "Most occupants",
  older_than: "Not used for, days", one_device: "With one device", pin: "Pinned key",
  pins: "Pinned keys", private_messages: "Private messages from",
  pss_kib: "Own share of memory", raised_when: "Raised when", remedy: "What mends it",
  rss_kib: "Memory in use", self_add: "Members add themselves",
  several_devices: "With several devices", since: "Since", since_s: "For, seconds",
  srv_names: "SRV names", stanza: "Message as sent", stanza_ids: "Messages", state: "State",
  strip_xhtml: "Formatting removed", suites: "TLS 1.3 suites", sum: "Sum", tls: "TLS",
  tls_min: "Lowest TLS", to: "To", totp: "Second factor", unacked: "Not confirmed",
  uptime_s: "Running for, seconds", uri: "Link (URI)", url: "Address of the web (URL)",
  what: "What", who: "Who", whom: "Whom", why: "Reason", with: "Talked with",
  xmpp_names: "XMPP names",
};

/* What a column or an argument is called: "given_name" is "Given name". */
export const label = (name) => labels[name.replaceAll("-", "_")] ?? titled(name);

/* Names of rows as words. */
export function titled(name) {
  const words = name.replaceAll(/[_-]/g, " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/* What a command is called on a button; one that has no name here yet has its own. */
export const named = (command) => english[`do.${command.name}`] ?? titled(command.name);

/* Where a command is and what it is called there: "Alarms › Active". */
function placed(command) {
  const page = t(`page.${pageOf(command).id}`);
  return `“${[...new Set([page, named(command)])].join(" › ")}”`;
}

/* A text of the server, which may name options and commands as one types them: here they are fields
 * and buttons, with names of their own. A refusal names members in backticks. `commands`: those of the
 * caller, by name; `args`: the text names no fields but these. */
export function plain(text, commands, args) {
  const field = (name) => `“${label(name)}”`;
  const all = args ? [{ args }] : [...(commands?.values() ?? [])];
  const isField = (name) => all.some((command) => command.args.some((arg) => arg.name === name));
  const word = (code) => {
    if (isField(code)) return field(code);
    if (/^--[a-z][a-z0-9-]*$/.test(code)) return field(code.slice(2));
    if (code === "musterctl --csv") return `“${t("table.csv")}”`;
    const command = commands?.get(code.replace(/^musterctl /, ""));
    return command ? placed(command) : `\`${code}\``;
  };
  return visible(timed(text)).split("`").map((part, i, all) => {
    if (i % 2 === 1) return i < all.length - 1 ? word(part) : `\`${part}`;
    return part.replace(/(^|[\s(])--([a-z][a-z0-9-]*)/g, (_, before, name) => before + field(name));
  }).join("");
}

export const rounded = (n) => Number(n.toPrecision(3)).toLocaleString("en");

/* The controls that turn the direction or the line of what stands beside them, as musterctl shows
 * them (turns() of ctl/render.c): "\u202e". */
export const visible = (text) => text.replace(/[\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g,
  (control) => `\\u${control.charCodeAt(0).toString(16).padStart(4, "0")}`);

/* Values as people read them. */
export function shown(column, value) {
  if (value === undefined || value === null) return "";
  if (typeof value === "boolean") return t(value ? "yes" : "no");
  if (column.type === "timestamp" ? value !== "" : isStamp(value)) return stamp(value, column.exact);
  if (typeof value === "number" && (column.type === "bytes" || column.unit === "bytes" || column.name === "bytes"))
    return bytes(value);
  if (typeof value === "number" && column.unit === "KiB")
    return value < 0 ? "–" : `${rounded(value / 1024)} ${t("unit.mib")}`; // as the plots have it
  if (typeof value === "number") return value.toLocaleString("en");
  return visible(column.name === "detail" ? timed(String(value)) : String(value));
}

/* A text of the server with times in it. */
const timed = (text) => text.replace(/\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z/g, (at) => stamp(at));

/* Columns of names and values have times among them. */
const isStamp = (value) => typeof value === "string" && /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/.test(value);

/* Who is logged in, as the audit log names them: "console:root/76c66318", "token:backup". */
export function person(actor) {
  const [, kind, name] = /^(\w+):([^/]*)/.exec(actor) ?? [];
  if (kind === "token") return t("app.token", { name });
  return kind === "console" ? name : actor;
}

/* Where and how far from UTC: "Europe/Berlin (UTC+01:00)". */
export function zone() {
  const away = -new Date().getTimezoneOffset();
  const two = (n) => String(Math.floor(n)).padStart(2, "0");
  const offset = `${away < 0 ? "-" : "+"}${two(Math.abs(away) / 60)}:${two(Math.abs(away) % 60)}`;
  return `${Intl.DateTimeFormat().resolvedOptions().timeZone} (UTC${offset})`;
}

/* In local time; exact: with milliseconds. */
function stamp(text, exact) {
  const at = new Date(text);
  if (Number.isNaN(at.getTime())) return text;
  return at.toLocaleString("sv") + (exact ? `.${String(at.getMilliseconds()).padStart(3, "0")}` : "");
}

function bytes(value) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`;
}
