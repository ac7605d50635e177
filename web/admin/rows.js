/* What follows from the rows of the server: which commands belong to a page, to a thing such as a
 * user or a room, and to one line of a list. Pure. */
import { frequent, noun, pageOf, pages, kinds, possible, quick } from "./pages.js";
import { langOf, said } from "./language.js";
import { plain } from "./text.js";

const required = (command) => command.args.filter((arg) => arg.kind === "required");
/* What can be shown on a page. A read that the audit log notes is one that somebody means to do: it
 * is run when it is asked for (isAsked). */
const isList = (command) => command.reads && required(command).length === 0;
export const isAsked = (command) => command.audited === true;

/* The texts of rows are in the language of the console, and as it says them (plain). `told`: the
 * description as it is, to be read again in another language; `langs`: of texts that are in another one. */
export function readRows(description) {
  const names = new Map(description.commands.map((row) => [row.name, row]));
  const texts = ["brief", "asks", "allowed", "unit", "restart"];
  const worded = (row, args = []) => ({ ...row, doc: plain(said(row.doc ?? ""), names, args),
    ...Object.fromEntries(texts.filter((key) => row[key]).map((key) => [key, plain(said(row[key]), names, args)])),
    langs: { doc: langOf(row.doc), brief: langOf(row.brief), asks: langOf(row.asks) } });
  const list = description.commands.map((row) => {
    const part = (one) => worded(one, row.args);
    return { ...part(row), args: row.args.map(part), columns: row.columns.map((one) => ({ ...part(one), of: row.name })) };
  });
  const commands = new Map(list.map((row) => [row.name, row]));
  const settings = new Map(description.settings.map((row) => [row.name, worded(row)]));
  const local = description.local.map((row) => worded(row));
  return { ...description, told: description, list, local, commands, settings };
}

/* The pages that the caller has something on, in order, also such of which all is done on the
 * server's host. */
export function pagesOf(rows) {
  const found = new Map(pages.map((page) => [page.id, null]));
  for (const local of [false, true])
    for (const command of local ? rows.local : rows.list) {
      const page = pageOf(command);
      if (!found.get(page.id)) found.set(page.id, { ...page, commands: [], local: [] });
      found.get(page.id)[local ? "local" : "commands"].push(command);
    }
  return [...found.values()].filter((page) => page !== null);
}

/* A page has the lists that need nothing, first those that pages.js names, and what else can be
 * done, of which it names what is wanted often. */
export function partsOf(page) {
  const place = (command) => (page.first || []).concat(command.name).indexOf(command.name);
  const lists = page.commands.filter(isList).sort((a, b) => place(a) - place(b));
  const others = page.commands.filter((command) => !isList(command));
  const often = (page.make || []).map((name) => others.find((c) => c.name === name));
  return { lists, often: often.filter(Boolean), others };
}

const names = (kind, field) => kinds[kind].types.includes(field.refers ?? field.type);
/* The kind of thing that an argument or a column names. */
export const kindOf = (field) => Object.keys(kinds).find((kind) => names(kind, field));

/* The argument of a command that a thing of this kind is for. Optional ones count for what reads:
 * the sessions of one user are a list of all, narrowed. But users and rooms of a domain are on their
 * own pages. */
function argumentFor(kind, command) {
  const listed = command.columns[0] && kindOf(command.columns[0]);
  const narrows = isList(command) && (!listed || listed === kind);
  const fits = (arg) => names(kind, arg);
  return (
    required(command).find(fits) ||
    (narrows ? command.args.find((arg) => arg.kind.startsWith("option") && fits(arg)) : undefined)
  );
}

/* What there is about a thing: a record of it, lists that need nothing else, and acts. */
export function partsOfThing(rows, kind, name) {
  const made = new Set(pages.flatMap((page) => page.make || []));
  const without = kinds[kind].without || [];
  const parts = { show: null, lists: [], acts: [] };
  for (const command of rows.list) {
    const arg = argumentFor(kind, command);
    if (!arg || without.includes(command.name) || (made.has(command.name) && !command.reads)) continue;
    const part = { command, bound: { [arg.name]: name } };
    if (command.name === kinds[kind].show) parts.show = part;
    else if (command.reads && !command.file && required(command).every((one) => one === arg)) parts.lists.push(part);
    else parts.acts.push(part);
  }
  const place = (part) => (kinds[kind].first || []).concat(part.command.name).indexOf(part.command.name);
  parts.lists.sort((a, b) => place(a) - place(b));
  /* First what is about the thing itself, last what destroys it. */
  const weight = ({ command }) => (command.asks ? 2 : noun(command) === kind ? 0 : 1);
  parts.acts.sort((a, b) => weight(a) - weight(b));
  return parts;
}

/* Where the value of an argument is in a line of a list: a column of its name; of a text, the first
 * column of the list that it is named after ("alarm" of `alarm list`); else the only column of its
 * type. */
function valueIn(row, arg, list) {
  const { columns } = list;
  if (row[arg.name] !== undefined) return row[arg.name];
  if (arg.type === "string") return arg.name === noun(list) && columns[0] ? row[columns[0].name] : undefined;
  const same = columns.filter((column) => column.type === arg.type);
  return same.length === 1 ? row[same[0].name] : undefined;
}

/* What can be done with one line: commands of the same noun, or area, of which the line gives an
 * argument. Of another noun in the area, the argument has a type, since "name" may be the name of
 * anything; or the noun is of a part of what is listed, as the "group-member" of a "group" is. */
export function actsOfLine(rows, list, row, bound) {
  const acts = [];
  for (const command of rows.list) {
    const same = noun(command) === noun(list);
    if (command === list || (!same && command.area !== list.area)) continue;
    if (possible[command.name]?.(row, rows) === false) continue;
    const part = noun(command).startsWith(`${noun(list)}-`);
    const key = command.args.filter((arg) => arg.name === list.columns[0]?.name);
    const needs = required(command).length > 0 ? required(command) : command.reads ? [] : key;
    const found = {};
    let own = 0;
    for (const arg of needs) {
      const value = bound[arg.name] ?? valueIn(row, arg, list);
      if (value === undefined || value === "") continue;
      found[arg.name] = value;
      own += bound[arg.name] === undefined &&
        (same || kindOf(arg) !== undefined || (part && key.includes(arg)));
    }
    const rest = needs.length - Object.keys(found).length;
    if (own > 0 && rest <= 1) acts.push({ command, bound: found });
  }
  return acts;
}

/* What can be done with a thing, in the order in which it is shown: what is done often, the rest by
 * the pages of the commands, first that of such things, and last what destroys: [{group, acts}],
 * where group is "often", the id of a page, or "danger". */
export function groupsOfActs(kind, acts) {
  const often = frequent[kind] ?? [];
  const groups = new Map([["often", []], [kinds[kind].page, []]]);
  const danger = [];
  for (const act of acts) {
    const group = often.includes(act.command.name) ? "often" : pageOf(act.command).id;
    if (act.command.asks && group !== "often") danger.push(act);
    else groups.set(group, [...(groups.get(group) ?? []), act]);
  }
  const place = ({ command }) => often.indexOf(command.name);
  groups.get("often").sort((one, other) => place(one) - place(other));
  return [...groups, ["danger", danger]].map(([group, found]) => ({ group, acts: found }))
    .filter((one) => one.acts.length > 0);
}

/* Those of them that have a button in the line. */
export const quickOf = (list, row, acts) =>
  acts.filter(({ command }) => quick[list.name]?.[command.name]?.(row));

/* What a form begins with where the row of a thing has the same. */
export function startOf(command, row) {
  const values = {};
  for (const arg of command.args) {
    const value = row[arg.name];
    if (value === undefined || value === "" || arg.type === "secret") continue;
    values[arg.name] = arg.kind === "flag" ? value === true
      : typeof value === "boolean" ? (value ? "on" : "off") : String(value);
  }
  return values;
}

/* Whether an argument is given by the buttons that turn pages. */
export const turnsPages = (command, arg) => command.pages === true && arg.name === "after";

/* The arguments of a list that narrow it, without those of paging and those that are given. */
export const filtersOf = (command, bound) =>
  command.args.filter(
    (arg) => !turnsPages(command, arg) && !["limit", "format", "cursor"].includes(arg.name) && bound[arg.name] === undefined,
  );

/* A list of which an argument is the name of one line: `role list` for "role", and for what refers
 * to a role. */
export const listNamed = (rows, arg) => {
  const list = rows.commands.get(`${arg.refers ?? arg.name} list`);
  return arg.type === "string" && list && isList(list) && !isAsked(list) && list.columns[0] ? list : null;
};

/* Those first whose name is what is looked for, then those whose name begins with it, then those that
 * have it in their name; else in the order that they have. */
export function nearest(found, text) {
  const wanted = text.trim().toLowerCase();
  const place = ({ name }) => (name === wanted ? 0 : name.startsWith(wanted) ? 1 : name.includes(wanted) ? 2 : 3);
  return [...found].sort((a, b) => place(a) - place(b));
}

/* What is drawn of a list: one line for each word in the column `by`. */
export function seriesOf(rows, plot) {
  const all = new Map();
  for (const row of rows) {
    const y = row[plot.value];
    if (typeof y !== "number") continue;
    const name = row[plot.by] ?? "";
    if (!all.has(name)) all.set(name, []);
    all.get(name).push({ x: Date.parse(row[plot.time]), y });
  }
  for (const points of all.values()) points.sort((a, b) => a.x - b.x);
  return [...all].map(([name, points]) => ({ name, points }));
}
