#!/bin/sh
# The whole fine-tuning cycle in curl: upload, train, watch, ask. Needs curl and python3 (to read JSON).
#
#   tunesmith prepare examples/tickets.csv --run-dir runs/tickets
#   tunesmith serve                      # in a second terminal; prints an API key the first time
#   OPENAI_API_KEY=sk-... sh examples/fine_tuning.sh
#
# Other files, base model and server: TRAIN, VALIDATION, BASE_MODEL, OPENAI_BASE_URL.
set -eu

url=${OPENAI_BASE_URL:-http://127.0.0.1:8000/v1}
train=${TRAIN:-runs/tickets/01-prepare/train.jsonl}
validation=${VALIDATION:-runs/tickets/01-prepare/validation.jsonl}
base_model=${BASE_MODEL:-minilm-l6}
text=${1:-"My card was charged twice for one order."}

# Asks the server. The key goes through standard input, so that no list of processes shows it.
ask() {
    printf 'header = "Authorization: Bearer %s"\n' "$OPENAI_API_KEY" |
        curl --silent --show-error --fail-with-body --config - "$@"
}

# What is in the JSON on standard input under these keys: field choices 0 message
field() {
    python3 -c '
import json, sys
value = json.load(sys.stdin)
for key in sys.argv[1:]:
    value = value[int(key) if isinstance(value, list) else key]
print("" if value is None else value)' "$@"
}

# A JSON object of the given keys and texts: json model NAME seed 7
json() {
    python3 -c '
import json, sys
given = sys.argv[1:]
print(json.dumps(dict(zip(given[::2], given[1::2]))))' "$@"
}

upload() {
    ask "$url/files" --form purpose=fine-tune --form "file=@$1" | field id
}

training_file=$(upload "$train")
validation_file=$(upload "$validation")
echo "Files $training_file and $validation_file"

job=$(ask "$url/fine_tuning/jobs" --header "Content-Type: application/json" --data "$(json \
    model "$base_model" training_file "$training_file" validation_file "$validation_file" \
    suffix tickets)" | field id)
echo "Job $job"

status=queued
while :; do
    case $status in succeeded | failed | cancelled) break ;; esac
    sleep 1
    status=$(ask "$url/fine_tuning/jobs/$job" | field status)
done

# The events, oldest first.
ask "$url/fine_tuning/jobs/$job/events?limit=100" |
    python3 -c 'import json, sys
for event in reversed(json.load(sys.stdin)["data"]): print(event["message"])'
echo "The job has $status."
[ "$status" = succeeded ] || exit 1

model=$(ask "$url/fine_tuning/jobs/$job" | field fine_tuned_model)
body=$(python3 -c '
import json, sys
message = {"role": "user", "content": sys.argv[2]}
print(json.dumps({"model": sys.argv[1], "messages": [message], "temperature": 0}))' "$model" "$text")
answer=$(ask "$url/chat/completions" --header "Content-Type: application/json" --data "$body" |
    field choices 0 message content)
echo "$model: $answer"
