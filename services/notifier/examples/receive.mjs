// A receiver of imagepress's webhooks that believes nothing unsigned and does nothing twice.
//
//     npm install standardwebhooks
//     WEBHOOK_SECRET=whsec_… node receive.mjs 8080

import { createServer } from "node:http";
import { Webhook, WebhookVerificationError } from "standardwebhooks";

const MOST_BYTES = 64 * 1024;

const webhook = new Webhook(process.env.WEBHOOK_SECRET);
const seen = new Set(); // where this matters, keep the ids where your data is, and for as long

// Do here what has to be done.
function handle(event) {
  console.log(event.type, event.request_id);
}

// The very bytes are signed: what is parsed and written anew differs.
async function bodyOf(request) {
  const pieces = [];
  let size = 0;
  for await (const piece of request) {
    size += piece.length;
    if (size > MOST_BYTES) throw new WebhookVerificationError("too large");
    pieces.push(piece);
  }
  return Buffer.concat(pieces);
}

const server = createServer(async (request, response) => {
  try {
    const event = webhook.verify(await bodyOf(request), request.headers);
    // It may come again: our answer to the first may have been lost.
    if (!seen.has(request.headers["webhook-id"])) {
      handle(event);
      seen.add(request.headers["webhook-id"]);
    }
    response.writeHead(204).end();
  } catch (error) {
    response.writeHead(error instanceof WebhookVerificationError ? 400 : 500).end();
  }
});

server.listen(Number(process.argv[2]), "127.0.0.1", () => {
  console.log("listening on port", server.address().port);
});
