#!/bin/sh
# Every call as a command: submit, repeat, wait, read, follow, resume.
set -eu

url=${POSTHASTE_URL:-http://127.0.0.1:8080}
channel=tour-$$-$(date +%s)
files=$(mktemp -d)
trap 'rm -rf "$files"' EXIT

# The key goes into a file that curl reads: arguments are seen by everybody on the machine.
: >"$files/curlrc"
chmod 600 "$files/curlrc"
if [ -n "${POSTHASTE_KEY:-}" ]; then
    printf 'header = "authorization: Bearer %s"\n' "$POSTHASTE_KEY" >"$files/curlrc"
fi
call() { curl --config "$files/curlrc" --silent --show-error --fail-with-body --max-time 60 "$@"; }
# What a JSON string of one name holds; for anything more use jq.
field() { sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p" | head -n 1; }

submit() {
    call "$url/v1/tasks" --header 'content-type: application/json' --header "idempotency-key: \"$channel-1\"" \
        --data "{\"type\":\"text.stats\",\"payload\":{\"text\":\"more haste, less speed\"},\"channel\":\"$channel\"}" "$@"
}

echo "submit: 202 at once, and the task is stored"
submit | tee "$files/first"
id=$(field id <"$files/first")

echo && echo "the same again under its Idempotency-Key, as after an answer that was lost: the same task"
# --retry alone would not repeat a POST after a broken connection; with a key it is safe.
submit --retry 5 --retry-connrefused --retry-all-errors | tee "$files/second"
[ "$(field id <"$files/second")" = "$id" ]

echo && echo "wait for its end, by long poll: each answer comes at a change, or after the wait"
state=
until [ "$state" = DONE ]; do
    case $state in FAILED | CANCELLED | EXPIRED) exit 1 ;; esac
    call "$url/v1/tasks/$id?wait=30" >"$files/task"
    state=$(sed -n 's/.*"state":"\([A-Z]*\)".*/\1/p' "$files/task")
done
cat "$files/task"

echo && echo "its stream: the present state first; it ends with the task"
call --no-buffer "$url/v1/tasks/$id/events" | tee "$files/stream"

echo "come back with the last id: 204, there will be nothing more"
last=$(sed -n 's/^id: //p' "$files/stream" | tail -n 1)
code=$(call "$url/v1/tasks/$id/events" --header "last-event-id: $last" --output /dev/null --write-out '%{http_code}')
[ "$code" = 204 ]

echo "all events of the channel from the oldest on: a stream without an end, so it is cut off after 5 seconds"
call --no-buffer --max-time 5 "$url/v1/events?channel=$channel&cursor=earliest" 2>"$files/said" | tee "$files/stream" || true
grep -q '^event: task.done' "$files/stream"

echo "cancel a task that is still to run, and see how a refusal looks"
call "$url/v1/tasks" --header 'content-type: application/json' \
    --data '{"type":"echo","delay_s":3600}' | tee "$files/third"
id=$(field id <"$files/third")
call --request POST "$url/v1/tasks/$id/cancel" >"$files/task"
call --request POST "$url/v1/tasks/$id/cancel" >"$files/task" 2>"$files/said" && exit 1
cat "$files/task"
echo && echo "done"
