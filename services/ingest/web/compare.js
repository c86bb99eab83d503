// Before and after, one over the other, parted by a slider.

import { byId, show, text } from "./dom.js";
import { change, size } from "./format.js";

let images = [];
let at = 0;

/** Opens the dialog on `list[index]`; the others are a step away. */
export function compare(list, index) {
  images = list;
  at = index;
  draw();
  byId("compare").showModal();
  byId("compare-slider").focus();
}

/** Leaves the comparison, if one is open. */
export const close = () => byId("compare").close();

function draw() {
  const { product, url, output, sizes } = images[at];
  text("compare-title", product);
  // The old picture goes first: it must not stand under the new one's name until that is loaded.
  for (const [id, source] of [["compare-before", url], ["compare-after", output]]) {
    byId(id).removeAttribute("src");
    byId(id).src = source;
  }
  text("tag-before", `Before · ${size(sizes?.bytes_in ?? 0)}`);
  text("tag-after", `After · ${size(sizes?.bytes_out ?? 0)}`);
  const less = sizes?.kept_original ? "the original was smaller, and is kept" : change(sizes?.bytes_in, sizes?.bytes_out);
  text("compare-sizes", `${at + 1} of ${images.length} · ${less}`);
  byId("compare-previous").disabled = at === 0;
  byId("compare-next").disabled = at === images.length - 1;
  slide(50);
}

function slide(percent) {
  byId("compare-slider").value = percent;
  byId("compare-stage").style.setProperty("--share", `${percent}%`);
}

function step(by) {
  at = Math.min(images.length - 1, Math.max(0, at + by));
  draw();
}

/** Wires the dialog, once. */
export function prepare() {
  const dialog = byId("compare");
  byId("compare-slider").addEventListener("input", (event) => slide(event.target.value));
  byId("compare-previous").addEventListener("click", () => step(-1));
  byId("compare-next").addEventListener("click", () => step(1));
  byId("compare-close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  byId("compare-before").addEventListener("error", () => {
    text("tag-before", "The original cannot be shown here");
    slide(0);
  });
  byId("compare-before").addEventListener("load", () => show("tag-before"));
}
