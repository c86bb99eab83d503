// Choosing or dropping a file, sending it, and what is wrong with it, line by line.

import * as api from "./api.js";
import { byId, element, say, show, text, trouble } from "./dom.js";
import { count, number, size } from "./format.js";

let chosen = null;
let key = api.newKey(); // of what would be sent now; kept while it is not known whether that has arrived

/** Wires the form, once; `onAccepted(id)` is called with each new request. */
export function prepare(onAccepted) {
  const drop = byId("drop");
  byId("file").addEventListener("change", (event) => choose(event.target.files[0]));
  byId("quality").addEventListener("input", (event) => text("quality-shown", event.target.value));
  // A file that misses the zone must not replace the page.
  for (const name of ["dragover", "drop"]) window.addEventListener(name, (event) => event.preventDefault());
  drop.addEventListener("dragenter", () => drop.classList.add("over"));
  drop.addEventListener("dragleave", (event) => drop.contains(event.relatedTarget) || drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => {
    drop.classList.remove("over");
    choose(event.dataTransfer.files[0]);
  });
  byId("upload").addEventListener("input", () => (key = api.newKey()));
  byId("use-sample").addEventListener("click", useSample);
  byId("upload").addEventListener("submit", (event) => {
    event.preventDefault();
    send("reject", onAccepted);
  });
  byId("skip-bad").addEventListener("click", () => send("skip", onAccepted));
}

function choose(file) {
  if (!file) return;
  chosen = file;
  key = api.newKey();
  text("chosen", file.name);
  text("chosen-hint", `${size(file.size)} · choose another`);
  byId("drop").classList.add("full");
  byId("submit").disabled = false;
  show("problems", false);
  say(`${file.name} is chosen`);
}

async function useSample() {
  const answer = await fetch("/web/sample.csv");
  choose(new File([await answer.blob()], "sample.csv", { type: "text/csv" }));
  byId("submit").focus();
}

async function send(onError, onAccepted) {
  const form = new FormData();
  for (const [name, value] of new FormData(byId("upload"))) if (name !== "file" && value) form.append(name, value);
  form.append("on_error", onError);
  form.append("file", chosen, chosen.name);
  busy(true);
  try {
    const { request_id: id, skipped } = await api.upload(form, `${key}-${onError}`);
    key = api.newKey();
    show("problems", false);
    if (skipped?.count) trouble(`${count(skipped.count, "bad row")} left out`);
    onAccepted(id);
  } catch (error) {
    if (error.problems?.length) showProblems(error);
    else trouble(error instanceof api.Refused ? error.message : "The service, or the file, cannot be reached. Please try again.");
  } finally {
    busy(false);
  }
}

function busy(is) {
  byId("submit").disabled = is;
  byId("skip-bad").disabled = is;
  text("submit", is ? "Checking …" : "Compress images");
}

function showProblems(error) {
  text("problems-detail", `${capital(error.message)}.`);
  byId("problems-rows").replaceChildren(
    ...error.problems.map(({ line, field, message }) =>
      element("tr", {}, element("td", {}, line ? number(line) : "–"), element("td", {}, field), element("td", {}, message)),
    ),
  );
  // Only lines can be left out, not a header or a webhook address.
  show("skip-bad", error.problems.every(({ line }) => line > 1));
  show("problems");
  byId("problems").focus();
}

const capital = (sentence) => sentence.charAt(0).toUpperCase() + sentence.slice(1);
