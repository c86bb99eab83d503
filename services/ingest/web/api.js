// What the page says to the service: the public API, nothing else.

import { ask, trouble } from "./dom.js";

/** An answer other than 2xx: status, a sentence, and the problems (RFC 9457). */
export class Refused extends Error {
  constructor(status, problem) {
    super(problem?.detail || problem?.title || `the service answered ${status}`);
    this.status = status;
    this.problems = problem?.errors ?? [];
  }
}

async function call(path, options = {}) {
  const answer = await fetch(path, { ...options, headers: { Accept: "application/json", ...options.headers } });
  if (answer.status === 401 && path !== "/api/sign-in" && (await signIn())) return call(path, options);
  if (answer.status === 204) return null;
  const body = await answer.json().catch(() => null);
  if (!answer.ok) throw new Refused(answer.status, body);
  return body;
}

let signingIn = null;

/** Asks for the key, once for all calls that wait for it; resolves to whether there is a new cookie. */
function signIn() {
  signingIn ??= askForKey().finally(() => (signingIn = null));
  return signingIn;
}

async function askForKey() {
  const key = await ask({ title: "Sign in", details: "This service asks for a key.", yes: "Sign in", key: true });
  if (!key) return false;
  const options = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ key }) };
  try {
    await call("/api/sign-in", options);
    return true;
  } catch (error) {
    trouble(error.message);
    return askForKey();
  }
}

export const signOut = () => call("/api/sign-out", { method: "POST" });

const of = (id) => `/api/requests/${encodeURIComponent(id)}`;

/** Sends a file; the same `key` again, after an answer that was lost, is accepted once. */
export const upload = (form, key) =>
  call("/api/upload", { method: "POST", body: form, headers: { "Idempotency-Key": key } });

// Not crypto.randomUUID, which browsers have on https and localhost only.
export const newKey = () => crypto.getRandomValues(new Uint32Array(4)).join("-");

export const status = (id, offset = 0, limit = 1) =>
  call(`/api/status?${new URLSearchParams({ request_id: id, offset, limit })}`);

export function list(wanted, cursor, limit) {
  const query = Object.entries({ status: wanted, cursor, limit }).filter(([, value]) => value);
  return call(`/api/requests?${new URLSearchParams(query)}`);
}

export const cancel = (id) => call(`${of(id)}/cancel`, { method: "POST" });
export const retry = (id) => call(`${of(id)}/retry`, { method: "POST" });
export const remove = (id) => call(of(id), { method: "DELETE" });
export const webhook = (id) => call(`${of(id)}/webhook`);
export const redeliver = (id) => call(`${of(id)}/webhook/redeliver`, { method: "POST" });
export const eventsUrl = (id) => `${of(id)}/events`;
export const csvUrl = (id) => `${of(id)}/result.csv`;
export const zipUrl = (id) => `${of(id)}/images.zip`;
