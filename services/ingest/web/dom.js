// The few things that every part of the page does with elements. Text of strangers only ever becomes text nodes.

export const byId = (id) => document.getElementById(id);

/** A new element with properties (`class` and `aria-…` as attributes) and children. */
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in made && name !== "class") made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child != null));
  return made;
}

export function show(id, shown = true) {
  byId(id).hidden = !shown;
}

export function text(id, value) {
  const target = byId(id);
  if (target.textContent !== String(value)) target.textContent = value;
}

/** A status as a coloured word. */
export function paintBadge(target, status) {
  target.textContent = status.replace("_", " ");
  target.dataset.status = status;
}

/** Tells screen readers; not shown. */
export const say = (sentence) => text("said", sentence);

let hiding;

/** Shows what went wrong, for a while. */
export function trouble(sentence) {
  text("trouble", sentence);
  show("trouble");
  clearTimeout(hiding);
  hiding = setTimeout(() => show("trouble", false), 8000);
}

/** Asks a person; resolves to true, to the key where one is asked for, or to false. */
export function ask({ title, details, yes, key = false }) {
  const dialog = byId("ask");
  text("ask-title", title);
  text("ask-text", details);
  text("ask-yes", yes);
  show("ask-key-label", key);
  byId("ask-key").value = "";
  dialog.returnValue = "no";
  byId("ask-no").onclick = () => dialog.close(); // no submit button: Enter would press the first of the form
  dialog.showModal();
  (key ? byId("ask-key") : byId("ask-yes")).focus();
  return new Promise((resolve) => {
    dialog.addEventListener(
      "close",
      () => resolve(dialog.returnValue === "yes" && (key ? byId("ask-key").value : true)),
      { once: true },
    );
  });
}
