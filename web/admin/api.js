/* The API, as the console asks it: one function that runs a command, and the session. Whoever is
 * logged in is known by the cookie of the session, or by an access token that is kept in memory
 * only, so it is gone with the page. */
import { answered as inWords } from "./language.js";
import { keep, kept } from "./storage.js";
import { t } from "./text.js";

const root = "/api/v1";
const pause = 5000; /* before something is asked again, ms */
const pauseAway = 2000; /* the same, of a server that is away */
const silence = 6000; /* without an answer: then it is asked whether the server is ready */
const silenceReady = 2000; /* the same, of that question */
let token = null;
let csrf = null;

/* Set by the page: what to do when the session has ended (true: it was lost with a server that was
 * away), how to ask for the password again
 * (resolves to whether it was given), who hears what is away: {why}, with what the server
 * says of itself or "" if it does not answer, or null when all is back; what to do when the caller
 * may do something else than before, perhaps; and whether nobody is at the page, which then asks by
 * itself. */
export const hooks = { expired: () => {}, confirm: async () => false, away: () => {}, rights: () => {}, idle: () => false };

/* A problem (RFC 9457). status 0: the server did not answer; `rows`: a command whose purpose it is to
 * find what is wrong has found something. */
export class Refused extends Error {
  constructor(status, problem) {
    super(inWords(problem.detail || problem.title || `${status}`));
    Object.assign(this, { status, code: problem.code, argument: problem.argument, rows: problem.rows });
  }
}

/* A command may take long. Given up, it throws, if the server does not even say whether it is ready. */
async function answered(asked, giveUp) {
  let over = false;
  const end = () => { over = true; };
  asked.then(end, end);
  const watch = async () => {
    do await wait(silence); while (!over && (await lacks()) !== "");
    if (over) return asked;
    giveUp(); // its connection is needed
    throw new Error("no answer");
  };
  return Promise.race([asked, watch()]);
}

/* How far the clock of the server is ahead of the one here, as its answers say, to the second: less
 * would be noise. */
let ahead = 0;
function compareClocks(answer) {
  const found = Date.parse(answer.headers.get("Date")) - Date.now();
  if (!Number.isNaN(found)) ahead = Math.abs(found) < 2000 ? 0 : found;
}
export const serverNow = () => Date.now() + ahead;

async function request(method, path, body, signal, more) {
  const headers = { ...more };
  if (token) headers.Authorization = `Bearer ${token}`;
  else if (csrf && method !== "GET") headers["X-CSRF-Token"] = csrf;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (hooks.idle()) headers["X-Console-Idle"] = "yes"; // so that the session may end (console.idle)
  const given = new AbortController();
  const all = AbortSignal.any(signal ? [signal, given.signal] : [given.signal]);
  const options = { method, headers, signal: all, redirect: "error" };
  if (body !== undefined) options.body = JSON.stringify(body);
  try {
    const answer = await answered(fetch(root + path, options), () => given.abort());
    compareClocks(answer);
    return answer;
  } catch (error) {
    if (error.name === "AbortError" && !given.signal.aborted) throw error;
    watchReturn("");
    throw new Refused(0, {});
  }
}

/* What the server is not ready for: "" if it does not answer, null if it is ready. */
async function lacks() {
  const options = { cache: "no-store", signal: AbortSignal.timeout(silenceReady) };
  const answer = await fetch("/readyz", options).catch(() => null);
  return answer ? (answer.ok ? null : (await answer.text()).trim()) : "";
}

/* After a failure: asks whether the server is ready, until it is. One question at a time, whoever has
 * found it away. */
let asking = false;
async function watchReturn(why) {
  if (asking || why === null) return;
  asking = true;
  for (; why !== null; why = await lacks()) {
    hooks.away({ why });
    await wait(pauseAway);
  }
  asking = false;
  hooks.away(null);
}

async function refusal(answer) {
  return new Refused(answer.status, await answer.json().catch(() => ({})));
}

/* The answer to a request, which throws what refuses it. */
async function granted(method, path, body, more) {
  const answer = await request(method, path, body, undefined, more);
  if (answer.ok) return answer;
  const refused = await refusal(answer);
  if (refused.status === 503) lacks().then(watchReturn);
  if (refused.code === "confirm-password" && (await hooks.confirm())) return granted(method, path, body, more);
  if (answer.status === 401 && !path.startsWith("/session")) {
    if (!token) refused.message = t("login.over"); // the cookie is gone, so the server asks for a token
    hooks.expired();
  }
  if (answer.status === 403 && !path.startsWith("/session") && path !== "/description") hooks.rights();
  throw refused;
}

export async function ask(method, path, body, more) {
  const answer = await granted(method, path, body, more);
  if (answer.status === 204) return null;
  const told = await answer.json();
  return typeof told.text === "string" ? { ...told, text: inWords(told.text) } : told;
}

/* Runs a command by its name: {text, rows, next}. */
export async function run(name, args = {}) {
  try {
    return await ask("POST", `/commands/${name.replaceAll(" ", "-")}`, args);
  } catch (error) {
    if (error.rows?.length > 0) return { text: error.message, rows: error.rows };
    throw error;
  }
}

/* A thing and the ETag by which a change of it is compared; null: the caller may not read it, or it
 * is gone. */
export async function readThing(path) {
  try {
    const answer = await granted("GET", path);
    return { path, etag: answer.headers.get("ETag"), row: await answer.json() };
  } catch (error) {
    if (error.status === 403 || error.status === 404) return null;
    throw error;
  }
}

/* Changes it if it is as it was read: {text, rows}. Else it is refused with 412. */
export const changeThing = ({ path, etag }, fields) => ask("PATCH", path, fields, { "If-Match": etag });

/* What the login page is to show; null: people cannot log in with a password here. */
export const loginPage = () => ask("GET", "/login").catch(() => null);

/* Each of these answers with a session; `must` says what is to be done before all else. */
async function open(path, fields) {
  const session = await ask("POST", path, fields);
  csrf = session.csrf;
  keep(mark, "1");
  return session;
}

export function logIn(fields) {
  token = null;
  return open("/session", fields);
}

export const changePassword = (fields) => open("/session/password", fields);
export const makeFactor = () => ask("POST", "/session/totp", {});
export const confirmFactor = (fields) => open("/session/totp/confirm", fields);

/* Then the browser has no cookie, by which it could open other pages of the server. */
export const byToken = () => token !== null;

/* Returns what the token may do: a question without it would be one more. */
export async function logInWithToken(text) {
  token = text;
  csrf = null;
  return ask("GET", "/description");
}

/* Whether the cookie of an earlier page still holds. A mark, which is no secret, says that there was
 * one: a browser would note each vain question as an error. */
const mark = "muster-session";
export async function resume() {
  if (!kept(mark)) return false;
  const session = await ask("GET", "/session").catch(() => null);
  csrf = session && session.csrf;
  return session !== null && session.must.length === 0;
}

export async function logOut() {
  if (!token) await ask("DELETE", "/session").catch(() => {});
  token = csrf = null;
  keep(mark, null);
}

export const confirmPassword = (fields) => ask("POST", "/session/confirm", fields);

/* One stream of events, from `place.id` on, which is kept up to date. An EventSource could not send the
 * token. Returns why it ended, "" if the server does not say it, or null: it has no events for the
 * caller. Throws when the stream breaks. */
async function listen(topics, signal, place, heard) {
  const answer = await request("GET", `/events?topics=${topics.join(",")}`, undefined, signal, place.id && { "Last-Event-ID": place.id });
  if (answer.status === 404 || answer.status === 403) return null;
  if (!answer.ok) throw await refusal(answer);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return "";
    text += value;
    let end;
    while ((end = text.indexOf("\n\n")) >= 0) {
      const fields = {};
      for (const line of text.slice(0, end).split("\n")) {
        const at = line.indexOf(":");
        if (at > 0) fields[line.slice(0, at)] = line.slice(at + 1).trimStart();
      }
      text = text.slice(end + 2);
      const data = fields.data && JSON.parse(fields.data);
      if (fields.event === "end") return data?.reason ?? "";
      if (fields.id) place.id = fields.id;
      if (data) heard(fields.event, data);
    }
  }
}

/* The same while somebody can see the page. A browser has six connections to a server for all its
 * pages, and keeps them also for pages in the background and those that one could go back to.
 * undefined: the page is not seen any more. */
async function listenHere(topics, signal, place, heard) {
  const here = new AbortController();
  const leave = () => (document.hidden || signal.aborted) && here.abort();
  const left = () => here.abort();
  signal.addEventListener("abort", leave);
  document.addEventListener("visibilitychange", leave);
  addEventListener("pagehide", left);
  try {
    return await listen(topics, here.signal, place, heard);
  } catch (error) {
    if (!here.signal.aborted) throw error;
    return undefined;
  } finally {
    signal.removeEventListener("abort", leave);
    document.removeEventListener("visibilitychange", leave);
    removeEventListener("pagehide", left);
  }
}

const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/* Waits until somebody sees the page, or `signal` ends that. */
const seen = (signal) => new Promise((resolve) => {
  const look = () => {
    if (document.hidden && !signal.aborted) return;
    document.removeEventListener("visibilitychange", look);
    signal.removeEventListener("abort", look);
    resolve();
  };
  document.addEventListener("visibilitychange", look);
  signal.addEventListener("abort", look);
  look();
});

/* Events of the topics, until `signal` ends them; a stream that breaks is opened again, and `broke`
 * is told why. Returns when the server has none. */
export async function follow(topics, signal, heard, broke = () => {}) {
  const place = {};
  while (!signal.aborted) {
    if (document.hidden) await seen(signal);
    if (signal.aborted) return;
    try {
      const why = await listenHere(topics, signal, place, heard);
      if (why !== undefined) hooks.rights();
      if (why === null) return;
      if (why === undefined) continue;
      broke(why);
    } catch (error) {
      if (error.status === 401) return; /* the login page asks */
      broke(error.message);
    }
    await wait(pause);
  }
}

/* Does it now and every few seconds while `there()`, also after a failure, until `signal` ends it. */
export async function repeat(signal, there, act) {
  while (!signal.aborted) {
    if (there()) await act().catch(() => {});
    await wait(pause);
  }
}
