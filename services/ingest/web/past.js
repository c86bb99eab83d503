// The list of past requests, newest first, a page at a time.

import * as api from "./api.js";
import { byId, element, paintBadge, show } from "./dom.js";
import { change, count, moment } from "./format.js";

const PAGE = 12;
let next = null;
let round = 0;

/** Wires the list, once. */
export function prepare(onTrouble) {
  byId("past-status").addEventListener("change", () => load().catch(onTrouble));
  byId("past-more").addEventListener("click", () => page(round).catch(onTrouble));
}

/** Shows the first page anew. */
export function load() {
  next = null;
  return page(++round);
}

async function page(ours) {
  const fresh = next === null;
  const answer = await api.list(byId("past-status").value, next, PAGE);
  if (ours !== round) return; // another filter was chosen meanwhile
  const entries = answer.requests.map(entry);
  if (fresh) byId("past").replaceChildren(...entries);
  else byId("past").append(...entries);
  next = answer.next;
  show("past-none", fresh && entries.length === 0);
  show("past-more", next !== null);
}

function entry(request) {
  const { images, bytes } = request;
  const badge = element("span", { class: "badge" });
  paintBadge(badge, request.status);
  const failed = images.failed ? `, ${count(images.failed, "failure")}` : "";
  const facts = [count(images.total, "image") + failed, bytes.input ? change(bytes.input, bytes.output) : null];
  return element(
    "li",
    {},
    element(
      "a",
      { class: "past-entry", href: `#${request.request_id}` },
      element("code", {}, request.request_id.slice(0, 8)),
      element("span", { class: "past-when" }, moment(request.created_at)),
      element("span", { class: "past-facts" }, facts.filter(Boolean).join(" · ")),
      badge,
    ),
  );
}
