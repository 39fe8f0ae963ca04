#!/bin/sh
# The HTTP API with curl: is it there, one answer, a stream, a chat, what the model takes.
#
#   client/examples/curl.sh --url 127.0.0.1:8000
set -eu

url=127.0.0.1:8000
if [ "${1-}" = --url ]; then url=$2; fi
ensemble="http://$url/v2/models/ensemble"

echo "== ready?"
curl --fail --silent --show-error --output /dev/null --write-out '%{http_code}\n' "$ensemble/ready"

echo "== one answer"
curl --fail --silent --show-error "$ensemble/generate" \
    --data '{"text_input": "The capital of France is", "max_tokens": 16, "exclude_input_in_output": true}'

echo; echo "== a stream of events"
curl --fail --silent --show-error --no-buffer "$ensemble/generate_stream" \
    --data '{"text_input": "One, two,", "max_tokens": 16, "stream": true, "exclude_input_in_output": true}'

echo "== a chat: the messages are one string of JSON"
curl --fail --silent --show-error --no-buffer "$ensemble/generate_stream" --data '{"max_tokens": 16, "stream": true,
    "messages": "[{\"role\": \"user\", \"content\": \"What is the capital of France?\"}]"}'

echo "== what the model takes and gives"
curl --fail --silent --show-error "$ensemble"
echo
