/* The language of the console: what the administrator has chosen, else what the browser asks for. A
 * language is a file {texts, rows, answers} beside this one, which is loaded when it is used: texts by
 * the names of english.js, and texts of the server by what they are in English. What a file lacks is
 * shown in English; if there is no file, all is. */
import { keep, kept } from "./storage.js";

export const languages = { en: "English", de: "Deutsch" };

const mark = "muster-language";
let chosen = "en";
let words = {};
let turns = 0;
let lacking = null;

export const language = () => chosen;
/* A number as people write it. */
export const counted = (number) => number.toLocaleString(chosen);
/* The one that was asked for, if its file could not be read. */
export const missing = () => lacking;
/* Every object has members such as "constructor", which are no words. */
const word = (all, key) => (all && Object.hasOwn(all, key) ? all[key] : undefined);
export const translated = (name) => word(words.texts, name);
/* A text of the rows of the server, or one that is made from names of its rows. */
export const said = (text) => word(words.rows, text) ?? text;

/* What a command answers, or why it is refused. It may be what people wrote, also a word that is a name
 * of a column, so only whole answers are in the file: one that counts with a # for each number,
 * "users: #". */
export function answered(text) {
  const number = /\b\d+\b/g; // not in a name, such as s2s.policy
  const numbers = text.match(number) ?? [];
  return word(words.answers, text.replace(number, "#"))?.replace(/#/g, () => counted(Number(numbers.shift()))) ?? text;
}

/* What a screen reader is to read it in, if that is not the language of the page. */
export const langOf = (text) => (chosen === "en" || !text || said(text) !== text ? undefined : "en");

function wanted() {
  const asked = [kept(mark), ...navigator.languages.map((tag) => tag.split("-")[0])];
  return asked.find((code) => Object.hasOwn(languages, code)) ?? "en";
}

async function read(code) {
  const answer = await fetch(`${code}.json`);
  if (!answer.ok) throw new Error(answer.statusText);
  return answer.json();
}

/* The last choice holds, whichever file is there first. */
async function load(code) {
  const turn = ++turns;
  const found = code === "en" ? {} : await read(code).catch(() => null);
  if (turn !== turns) return;
  words = found ?? {};
  chosen = found ? code : "en";
  lacking = found ? null : code;
  document.documentElement.lang = chosen;
}

export const begin = () => load(wanted());

export function choose(code) {
  keep(mark, code);
  return load(code);
}
