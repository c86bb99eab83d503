// node submit.mjs catalogue.csv result.csv: upload, wait until all images are done, download the result. Node 20 or newer.

import { randomUUID } from "node:crypto";
import { openAsBlob } from "node:fs";
import { writeFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";

const [csv, result] = process.argv.slice(2);
const url = process.env.IMAGEPRESS_URL ?? "http://localhost:8000";
const key = process.env.IMAGEPRESS_KEY;

async function ask(path, options = {}) {
  const headers = { ...(key && { Authorization: `Bearer ${key}` }), ...options.headers };
  const answer = await fetch(url + path, { ...options, headers });
  // application/problem+json: `errors` names each line of the file
  if (!answer.ok) throw Object.assign(new Error(await answer.text()), { status: answer.status });
  return answer;
}

/** Returns the request id. The key makes it harmless to repeat the call, whatever became of the first one. */
async function upload() {
  const headers = { "Idempotency-Key": randomUUID() };
  for (let tries = 1; ; tries++) {
    const body = new FormData();
    body.append("file", await openAsBlob(csv), "catalogue.csv");
    try {
      return (await (await ask("/api/upload", { method: "POST", body, headers })).json()).request_id;
    } catch (error) {
      const passing = error.status === undefined || [429, 503].includes(error.status);
      if (!passing || tries === 4) throw error;
      await sleep(1000 * 2 ** tries);
    }
  }
}

/** Shows progress until the request has ended. A connection that ends without `end` broke: follow again. */
async function follow(id) {
  for (;;) {
    const answer = await ask(`/api/requests/${id}/events`);
    let text = "";
    for await (const piece of answer.body.pipeThrough(new TextDecoderStream())) {
      const events = (text + piece).split("\n\n");
      text = events.pop();
      for (const event of events) {
        if (event.startsWith("event: end")) return;
        const data = event.split("\n").find((line) => line.startsWith("data: "));
        if (data) console.log(JSON.parse(data.slice(6)).images);
      }
    }
    await sleep(1000);
  }
}

const id = await upload();
await follow(id);
const answer = await ask(`/api/requests/${id}/result.csv`);
await writeFile(result, Buffer.from(await answer.arrayBuffer())); // text() would drop the mark that spreadsheets need
