// What the page says to the service: the public API, nothing else.

import { ask } from "./dom.js";

/** An answer other than 2xx: status, a sentence, and the problems (RFC 9457). */
export class Refused extends Error {
  constructor(status, problem) {
    super(problem?.detail || problem?.title || `the service answered ${status}`);
    this.status = status;
    this.problems = problem?.errors ?? [];
  }
}

/** Whether this service has the route that ends in `name`. */
export const serves = (name) => document.body.dataset.serves.split(" ").includes(name);

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
  return call("/api/sign-in", options).then(() => true, () => askForKey());
}

const of = (id) => `/api/requests/${encodeURIComponent(id)}`;

export const upload = (form) =>
  call("/api/upload", { method: "POST", body: form, headers: { "Idempotency-Key": newKey() } });

// Not crypto.randomUUID, which browsers have on https and localhost only.
const newKey = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16)).join("");

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
export const eventsUrl = (id) => `${of(id)}/events`;
export const csvUrl = (id) => `${of(id)}/result.csv`;
export const zipUrl = (id) => `${of(id)}/images.zip`;
