// What became of the webhook, and of each attempt.

import * as api from "./api.js";
import { byId, element, paintBadge, show, text } from "./dom.js";
import { count, moment } from "./format.js";

let drawn = "";

/** Shows the webhook of a request, where it has one; its attempts are fetched when their number has changed. */
export async function showWebhook(request) {
  const { webhook } = request;
  show("webhook", Boolean(webhook));
  if (!webhook) return;
  paintBadge(byId("webhook-state"), webhook.state);
  const next = webhook.next_attempt_at ? `; the next one ${moment(webhook.next_attempt_at)}` : "";
  text("webhook-summary", webhook.state === "waiting" ? "Sent when the request has ended." : count(webhook.tries, "attempt") + next);
  const look = `${request.request_id} ${webhook.state} ${webhook.tries}`;
  if (look === drawn) return;
  drawn = look;
  byId("attempts").replaceChildren();
  if (!webhook.tries || !api.serves("webhook")) return;
  const { attempts } = await api.webhook(request.request_id);
  if (look === drawn) byId("attempts").replaceChildren(...attempts.map(entry));
}

function entry(attempt) {
  const outcome = attempt.status_code ? `answered ${attempt.status_code}` : attempt.error;
  const latency = attempt.latency_ms == null ? "" : ` after ${attempt.latency_ms} ms`;
  return element(
    "li",
    {},
    element("b", {}, outcome ?? "no answer"),
    `${latency}, ${moment(attempt.at)}`,
    attempt.answer ? element("code", {}, attempt.answer) : null,
  );
}
