// The page: which part is shown is told by the address, `#` or `#<request id>`, so that links and Back work.

import * as api from "./api.js";
import * as compare from "./compare.js";
import { byId, show, trouble } from "./dom.js";
import * as past from "./past.js";
import * as request from "./request.js";
import * as upload from "./upload.js";

const ID = /^#[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

const fail = (error) => trouble(error.message);

function route(focus) {
  const isRequest = ID.test(location.hash);
  show("home", !isRequest);
  show("request", isRequest);
  compare.close();
  if (isRequest) {
    request.open(location.hash.slice(1));
    if (focus) byId("request-title").focus();
  } else {
    request.close();
    document.title = "imagepress";
    past.load().catch(fail);
  }
  if (focus) window.scrollTo(0, 0);
}

upload.prepare((id) => (location.hash = id));
past.prepare(fail);
request.prepare();
compare.prepare();
show("sign-out", document.body.dataset.keys !== undefined);
byId("sign-out").addEventListener("click", () => api.signOut().then(() => location.assign("/"), fail));
window.addEventListener("hashchange", () => location.hash !== "#main" && route(true));
route(false);
