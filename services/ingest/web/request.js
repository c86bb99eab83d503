// One request: its live figures, what can be done with it, its webhook and its images.

import * as api from "./api.js";
import { compare } from "./compare.js";
import { ask, byId, paintBadge, say, show, text, trouble } from "./dom.js";
import { between, change, count, duration, moment, number, rate, size } from "./format.js";
import { Grid } from "./grid.js";
import { follow, hasEnded, Rate } from "./live.js";
import { showWebhook } from "./webhook.js";

const GRID_EVERY_MS = 1000; // while images come in
const SAY_EVERY_MS = 10000; // to screen readers: more would only be in the way
const WEBHOOK_SOONEST_MS = 2000;
const WEBHOOK_LATEST_MS = 60000; // also where the next attempt is hours away: somebody may have it sent again

let current = null;

/** Leaves the request that is shown. */
export function close() {
  current?.stop();
  current?.grid.stop();
  clearTimeout(current?.looking);
  current = null;
}

/** Shows a request and follows it to its end. */
export function open(id) {
  close();
  const opened = { id, rate: new Rate(), grid: new Grid(id, compare), drawn: -Infinity, drawnEnd: null, said: -Infinity, stop: () => {} };
  current = opened;
  document.querySelector("input[name=filter][value=all]").checked = true;
  text("request-title", `Request ${id.slice(0, 8)}`);
  text("request-when", "");
  byId("request").ariaBusy = "true"; // the figures of the request before are not to be seen under this one's name
  for (const part of ["cancel", "retry", "csv", "zip", "webhook"]) show(part, false);
  byId("csv").href = api.csvUrl(id);
  byId("zip").href = api.zipUrl(id);
  start(opened);
}

function start(opened) {
  opened.stop();
  opened.stop = follow(
    opened.id,
    (request) => current === opened && draw(opened, request),
    (error) => current === opened && fallShort(error),
  );
}

function fallShort(error) {
  if (!(error instanceof api.Refused)) return trouble("The service cannot be reached; trying again …");
  if (byId("request").ariaBusy === "true") text("request-when", error.message); // nothing else is there to be seen
  return trouble(error.message);
}

function draw(opened, request) {
  const now = performance.now();
  const ended = hasEnded(request);
  byId("request").ariaBusy = "false";
  drawHead(request, ended);
  drawFigures(opened, request, now / 1000, ended);
  showWebhook(request).catch(fail);
  if (ended ? opened.drawnEnd !== request.ended_at : now - opened.drawn > GRID_EVERY_MS) {
    opened.drawn = now;
    opened.drawnEnd = request.ended_at;
    const { total, succeeded, failed } = request.images;
    // What was cancelled counts as neither, but is shown with its reason.
    opened.grid.refresh({ succeeded, failed: ended ? total - succeeded : failed }).catch(fail);
  }
  if (ended || now - opened.said > SAY_EVERY_MS) {
    opened.said = now;
    say(`${request.status}: ${request.images.succeeded + request.images.failed} of ${count(request.images.total, "image")} done, ${request.images.failed} failed`);
  }
  if (ended) awaitWebhook(opened, request.webhook);
}

/** A webhook is sent after the end: its state is looked at until it is settled, when an attempt is due. */
function awaitWebhook(opened, webhook) {
  clearTimeout(opened.looking);
  if (!["waiting", "due"].includes(webhook?.state)) return;
  const until = webhook.next_attempt_at ? Date.parse(webhook.next_attempt_at) - Date.now() : 0;
  const pause = Math.min(Math.max(until, WEBHOOK_SOONEST_MS), WEBHOOK_LATEST_MS);
  opened.looking = setTimeout(() => current === opened && start(opened), pause);
}

function drawHead(request, ended) {
  paintBadge(byId("request-status"), request.status);
  document.title = `${request.status} – imagepress`;
  const took = request.started_at && request.ended_at ? `, took ${duration(between(request.started_at, request.ended_at))}` : "";
  text("request-when", `Uploaded ${moment(request.created_at)}${took}`);
  show("cancel", !ended);
  const unfinished = request.images.total - request.images.succeeded;
  show("retry", ended && unfinished > 0);
  text("retry", `Retry ${count(unfinished, "image")}`);
  show("csv", ended);
  show("zip", ended && request.images.succeeded > 0 );
}

function drawFigures(opened, request, now, ended) {
  const { total, succeeded, failed } = request.images;
  const { input, output } = request.bytes;
  text("done", number(succeeded + failed));
  text("total", number(total));
  text("failed", number(failed));
  text("saved", input ? change(input, output) : "–");
  text("saved-label", input ? `${size(input)} → ${size(output)}` : "in size");
  drawPace(request, ended, opened.rate.add(succeeded + failed, total, now));
  const meter = byId("meter");
  meter.setAttribute("aria-valuemax", total);
  meter.setAttribute("aria-valuenow", succeeded + failed);
  meter.setAttribute("aria-valuetext", `${succeeded + failed} of ${total} images done, ${failed} failed`);
  meter.style.setProperty("--share-good", total ? succeeded / total : 0);
  meter.style.setProperty("--share-bad", total ? failed / total : 0);
  meter.dataset.status = request.status;
}

function drawPace(request, ended, pace) {
  const seconds = ended && request.started_at ? between(request.started_at, request.ended_at) : null;
  text("left-label", ended ? "in all" : "left");
  if (ended) {
    text("rate", seconds > 0 ? rate((request.images.succeeded + request.images.failed) / seconds) : "–");
    text("left", seconds === null ? "–" : duration(seconds));
  } else if (pace) {
    text("rate", rate(pace.rate));
    text("left", duration(pace.left));
  } else if (request.status === "pending") {
    for (const figure of ["rate", "left"]) text(figure, "–");
  }
}

const fail = (error) => trouble(error.message);

/** Runs a command of the current request, then follows what comes of it. */
async function command(name) {
  const opened = current;
  try {
    await api[name](opened.id);
    opened.rate = new Rate();
    if (current === opened) start(opened);
  } catch (error) {
    fail(error);
  }
}

async function removeAsked() {
  const { id } = current;
  const question = { title: "Delete this request?", details: "Its images and their links will be gone.", yes: "Delete" };
  if (!(await ask(question))) return;
  try {
    await api.remove(id);
    location.hash = "";
  } catch (error) {
    fail(error);
  }
}

/** Wires the buttons, once. */
export function prepare() {
  byId("cancel").addEventListener("click", () => command("cancel"));
  byId("retry").addEventListener("click", () => command("retry"));
  byId("redeliver").addEventListener("click", () => command("redeliver"));
  byId("remove").addEventListener("click", removeAsked);
  byId("grid-more").addEventListener("click", () => current.grid.more().catch(fail));
  for (const choice of document.querySelectorAll("input[name=filter]")) {
    choice.addEventListener("change", () => current.grid.choose(choice.value).catch(fail));
  }
}
