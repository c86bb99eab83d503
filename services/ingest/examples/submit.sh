#!/bin/sh
# sh submit.sh catalogue.csv result.csv: upload, wait until all images are done, download the result.
set -eu
: "${IMAGEPRESS_URL:=http://localhost:8000}" "${IMAGEPRESS_KEY:=}"

ask() { curl --silent --show-error --fail-with-body -H "Authorization: Bearer $IMAGEPRESS_KEY" "$@"; }

# The key makes it harmless to repeat the upload, whatever became of the first call.
answer=$(ask --retry 5 --retry-all-errors -H "Idempotency-Key: $(openssl rand -hex 16)" \
  -F "file=@$1" "$IMAGEPRESS_URL/api/upload")
request="$IMAGEPRESS_URL/api/requests/$(echo "$answer" | sed 's/.*"request_id": *"\([^"]*\)".*/\1/')"

# Live progress ends with the event `end`. A connection that ends without it broke: follow again.
until ask --no-buffer "$request/events" | tee /dev/stderr | grep --quiet '^event: end'; do
  sleep 1
done

ask --output "$2" "$request/result.csv"
