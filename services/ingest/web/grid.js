// The images of a request as cards, a page at a time, filtered by outcome.

import * as api from "./api.js";
import { byId, element, show } from "./dom.js";
import { change, size } from "./format.js";

const CARDS = 48; // to a page
const ROWS = { all: 100, succeeded: 100, failed: 500 }; // asked for at once; failures are far between

/** Each image of a row with its outcome: "succeeded", "failed" or "pending". */
export function imagesOf(row, index) {
  const sizes = byUrl(row.images);
  const errors = byUrl(row.errors);
  return row.input_image_urls.map((url, n) => {
    const output = row.output_image_urls[n];
    const error = output ? undefined : errors.get(url)?.shift();
    const outcome = output ? "succeeded" : error ? "failed" : "pending";
    const key = `${index}-${n}`;
    return { key, url, output, outcome, error, product: row.product_name, sizes: output && sizes.get(url)?.shift() };
  });
}

/** A URL may stand in a row several times: each of its entries belongs to one of them, in order. */
function byUrl(entries) {
  const found = new Map();
  for (const entry of entries) found.set(entry.url, [...(found.get(entry.url) ?? []), entry]);
  return found;
}

/** The grid of one request. `onCompare(images, index)` is called when a person opens an image. */
export class Grid {
  #id;
  #onCompare;
  #filter = "all";
  #wanted = CARDS;
  #counts = {};
  #shown = new Map();
  #loading = null;
  #again = false;

  constructor(id, onCompare) {
    this.#id = id;
    this.#onCompare = onCompare;
    byId("grid").replaceChildren();
    show("grid-none", false);
    show("grid-more", false);
  }

  choose(filter) {
    this.#filter = filter;
    this.#wanted = CARDS;
    return this.refresh();
  }

  more() {
    this.#wanted += CARDS;
    return this.refresh();
  }

  /** Brings the cards up to date; while that runs, at most one more is waiting. `counts`: at most how many of each outcome. */
  refresh(counts = this.#counts) {
    this.#counts = counts;
    if (this.#loading) {
      this.#again = true;
      return this.#loading;
    }
    this.#loading = this.#untilCurrent().finally(() => (this.#loading = null));
    return this.#loading;
  }

  stop() {
    this.#id = null;
  }

  async #untilCurrent() {
    do {
      this.#again = false;
      const found = await this.#collect();
      if (this.#id) this.#draw(found);
    } while (this.#again && this.#id);
  }

  async #collect() {
    const filter = this.#filter;
    const rows = ROWS[filter];
    // One card more than is shown tells whether there are more; no row behind the last that counts is asked for.
    const enough = Math.min(this.#wanted + 1, this.#counts[filter] ?? Infinity);
    const found = [];
    for (let offset = 0; this.#id && found.length < enough; offset += rows) {
      const { details } = await api.status(this.#id, offset, rows);
      const images = details.flatMap((row, n) => imagesOf(row, offset + n));
      found.push(...images.filter((image) => filter === "all" || image.outcome === filter));
      if (details.length < rows) break;
    }
    return found;
  }

  #draw(found) {
    const images = found.slice(0, this.#wanted);
    const comparable = images.filter((image) => image.output);
    const before = this.#shown;
    this.#shown = new Map();
    const cards = images.map((image) => {
      const look = JSON.stringify(image);
      const old = before.get(image.key);
      const card = old?.look === look ? old.card : this.#card(image);
      this.#shown.set(image.key, { look, card });
      return card;
    });
    const open = (image) => this.#onCompare(comparable, comparable.findIndex(({ key }) => key === image.key));
    cards.forEach((card, n) => (card.firstChild.onclick = () => open(images[n])));
    const grid = byId("grid");
    cards.forEach((card, n) => grid.children[n] !== card && grid.insertBefore(card, grid.children[n] ?? null));
    while (grid.children.length > cards.length) grid.lastChild.remove();
    show("grid-none", images.length === 0);
    show("grid-more", found.length > images.length);
  }

  #card(image) {
    const name = decoded(image.url.split("/").pop() || image.url);
    const make = { succeeded: succeeded, failed: failed, pending: pending }[image.outcome];
    return element("li", { class: "cell", "data-outcome": image.outcome }, ...make(image, name));
  }
}

function succeeded(image, name) {
  const picture = element("img", { src: image.output, alt: "", loading: "lazy", decoding: "async" });
  const button = element("button", { type: "button", class: "thumb", "aria-label": `Compare ${image.product}, ${name}` }, picture);
  const { bytes_in: before = 0, bytes_out: after = 0, kept_original: kept } = image.sizes ?? {};
  const less = element("b", { class: "less" }, kept ? "kept" : change(before, after));
  const sizes = element("p", { class: "sizes" }, `${size(before)} → ${size(after)} `, less);
  return [button, caption(image, name), sizes];
}

function failed(image, name) {
  const reason = element("p", { class: "reason" }, element("b", {}, image.error.code), ` ${image.error.message}`);
  return [element("div", { class: "thumb none", "aria-hidden": "true" }, "!"), caption(image, name), reason];
}

function pending(image, name) {
  return [element("div", { class: "thumb waiting", "aria-hidden": "true" }), caption(image, name), element("p", { class: "sizes" }, "waiting")];
}

function caption(image, name) {
  const link = element("a", { href: image.url, title: image.url, rel: "noreferrer noopener", target: "_blank" }, name);
  return element("p", { class: "caption" }, element("b", {}, image.product), link);
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // a stray % is shown as it is
  }
}
