// Following a request while it runs: by server-sent events, or by asking where a proxy lets none through.

import * as api from "./api.js";

const POLL_MS = 600;
const WINDOW_SECONDS = 10;

export const hasEnded = (request) => !["pending", "processing"].includes(request.status);

/** Calls `onProgress` with each new status until the request ends. Returns the function that stops following. */
export function follow(id, onProgress, onTrouble) {
  const stopping = new AbortController();
  byEvents(id, onProgress, onTrouble, stopping.signal);
  return () => stopping.abort();
}

function byEvents(id, onProgress, onTrouble, signal) {
  const source = new EventSource(api.eventsUrl(id));
  const close = () => source.close();
  signal.addEventListener("abort", close);
  source.addEventListener("progress", (event) => signal.aborted || onProgress(JSON.parse(event.data)));
  source.addEventListener("end", (event) => {
    close();
    if (signal.aborted) return;
    const request = JSON.parse(event.data);
    if (hasEnded(request)) onProgress(request);
    else byAsking(id, onProgress, onTrouble, signal); // it was deleted meanwhile: the service says so
  });
  source.addEventListener("error", () => {
    // The browser reconnects by itself, unless the service refused.
    if (source.readyState === EventSource.CLOSED) byAsking(id, onProgress, onTrouble, signal);
  });
}

async function byAsking(id, onProgress, onTrouble, signal) {
  while (!signal.aborted) {
    try {
      const request = await api.status(id);
      if (signal.aborted) return;
      onProgress(request);
      if (hasEnded(request)) return;
    } catch (error) {
      if (signal.aborted) return;
      onTrouble(error);
      if (error instanceof api.Refused && error.status < 500 && error.status !== 429) return;
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

/** Images a second over the last seconds; the seconds left follow from it. */
export class Rate {
  #samples = [];

  /** Takes how many images are done at `now` (seconds); returns {rate, left}, null while nothing is known. */
  add(done, total, now) {
    if (this.#samples.length && done < this.#samples.at(-1).done) this.#samples = []; // a retry: a new run
    this.#samples.push({ done, now });
    while (this.#samples.length > 2 && now - this.#samples[1].now > WINDOW_SECONDS) this.#samples.shift();
    const first = this.#samples[0];
    if (done === first.done || now - first.now < 0.5) return null;
    const rate = (done - first.done) / (now - first.now);
    return { rate, left: (total - done) / rate };
  }
}
