/* How texts, names and values are shown, in the language that was chosen. */
import { english, labels } from "./english.js";
import { counted, language, said, translated } from "./language.js";
import { pageOf } from "./pages.js";

/* A name that is not here is a programmer's mistake, but for pages: those of new areas have the
 * name of the area. Values that are numbers are written as the language writes them. */
export function t(name, values) {
  const text = translated(name) ?? english[name] ?? (name.startsWith("page.") ? said(titled(name.slice(5))) : undefined);
  if (text === undefined) throw new Error(`no text ${name}`);
  return text.replace(/\{(\w+)\}/g, (_, key) => (typeof values[key] === "number" ? counted(values[key]) : values[key]));
}

/* What a column or an argument is called: "given_name" is "Given name". */
export const label = (name) => said(labels[name.replaceAll("-", "_")] ?? titled(name));

/* The same of a column, which may have a title of its own. */
export const titleOf = (column) => (column.title ? said(column.title) : label(column.name));

/* Names of rows as words. */
export function titled(name) {
  const words = name.replaceAll(/[_-]/g, " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/* What a command is called on a button; one that has no name here yet has its own. */
export const named = ({ name }) => (english[`do.${name}`] ? t(`do.${name}`) : said(titled(name)));

/* Where a command is and what it is called there: "Alarms › Active". */
export const placed = (command) => [...new Set([t(`page.${pageOf(command).id}`), named(command)])].join(" › ");

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
    return command ? `“${placed(command)}”` : `\`${code}\``;
  };
  return visible(timed(text)).split("`").map((part, i, all) => {
    if (i % 2 === 1) return i < all.length - 1 ? word(part) : `\`${part}`;
    return part.replace(/(^|[\s(])--([a-z][a-z0-9-]*)/g, (_, before, name) => before + field(name));
  }).join("");
}

export const rounded = (n) => Number(n.toPrecision(3)).toLocaleString(language());

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
  if (typeof value === "number") return counted(value);
  const text = column.choices?.includes(value) || isOwn(column) ? said(String(value)) : String(value);
  return visible(column.name === "detail" ? timed(text) : text);
}

/* Columns of words and sentences that are the server's in each list, or in the lists that are named. Other
 * values are somebody's own, and are shown as they are, also when a catalogue has the same words. */
const own = new Set(["action", "affiliation", "allowed", "cleared_when", "direction", "explanation", "help", "impact",
  "kind", "level", "meaning", "mode", "raised_when", "remedy", "restart", "result", "severity", "state", "status", "unit"]);
const ownIn = {
  "backup list": ["verified"], "cert-trust list": ["for"], "contact list": ["subscription"], "metrics": ["type"],
  "metrics series": ["type"], "policy show": ["is", "what"], "report list": ["reason"], "room joins": ["event"],
  "room occupants": ["role"], "s2s-demand list": ["auth", "tls_min", "verify"], "s2s-route list": ["tls"], "status": ["alarms", "end_scheduled", "restart_needed", "store"],
  "template list": ["federation", "others", "share"], "template show": ["federation", "others", "share"], "user stats": ["name"],
};
const isOwn = ({ name, of }) => own.has(name) || ownIn[of]?.includes(name) || (name === "text" && /^alarm /.test(of));

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
  const places = unit === 0 ? 0 : 1;
  const number = value.toLocaleString(language(), { minimumFractionDigits: places, maximumFractionDigits: places });
  return `${number} ${units[unit]}`;
}
