// What became of the webhook, and of each attempt.

import * as api from "./api.js";
import { byId, element, paintBadge, show, text } from "./dom.js";
import { count, moment, number } from "./format.js";

let drawn = "";

/** Shows the webhook of a request, where it has one; its attempts are fetched when their number has changed. */
export async function showWebhook(request) {
  const { webhook } = request;
  show("webhook", Boolean(webhook));
  if (!webhook) return;
  paintBadge(byId("webhook-state"), webhook.state);
  show("redeliver", ["delivered", "given_up"].includes(webhook.state));
  const next = webhook.next_attempt_at ? `; the next one ${moment(webhook.next_attempt_at)}` : "";
  text("webhook-summary", webhook.state === "waiting" ? "Sent when the request has ended." : count(webhook.tries, "attempt") + next);
  const look = `${request.request_id} ${webhook.state} ${webhook.tries}`;
  if (look === drawn) return;
  drawn = look;
  byId("attempts").replaceChildren();
  if (!webhook.tries) return;
  const { attempts } = await api.webhook(request.request_id);
  if (look === drawn) byId("attempts").replaceChildren(...attempts.map(entry));
}

function entry(attempt) {
  const outcome = attempt.status_code === null ? "no answer" : `answered ${attempt.status_code}`;
  const why = attempt.error ? ` · ${attempt.error}` : "";
  return element(
    "li",
    { value: attempt.number },
    element("b", { "data-outcome": attempt.outcome }, outcome),
    ` after ${number(attempt.latency_ms)} ms, ${moment(attempt.at)}${why}`,
    attempt.answer ? element("code", {}, attempt.answer) : null,
  );
}
