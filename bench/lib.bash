# What the measurements share: the parts that are measured, the loads, and eyes on the processes. To be sourced.
#
# Set `name` before: it begins the messages. Everything started here ends with the script.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
posthaste=${POSTHASTE:-$root/target/release/posthaste}
port=${BENCH_PORT:-18080}
url=http://127.0.0.1:$port
data=$(mktemp -d)
# Postgres runs as another user when this is root; it must reach its folder.
chmod 711 "$data"
stack_pid= server_pid=

fail() {
    echo "$name: $*" >&2
    exit 1
}

# need PROGRAM…: all of them, or the one line that installs them.
need() {
    local program
    for program; do
        command -v "$program" >/dev/null ||
            fail "$program is missing; Debian: apt-get install curl wrk slowhttptest python3 valgrind"
    done
    [ -r /proc/self/stat ] || fail "reads processor time from /proc, which is Linux's"
}

end_process() {
    [ -z "$1" ] || { kill -"${2:-TERM}" "$1" 2>/dev/null && wait "$1" 2>/dev/null; } || true
}

cleanup() {
    stop_slow_clients
    end_process "$server_pid"
    end_process "$stack_pid" INT
    rm -rf "$data"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

build() {
    # What was given by POSTHASTE is taken as it is.
    [ -n "${POSTHASTE:-}" ] || (cd "$root" && cargo build --quiet --release --locked --package posthaste)
    (cd "$root" && cargo build --quiet --release --locked --package posthaste-stack --example stack)
}

# start_stack: a fresh Postgres, Kafka and registry, in the environment of all that follows, migrated.
start_stack() {
    # Its own group: Ctrl-C must not end it before what runs on it.
    set -m
    "$root/target/release/examples/stack" "$data/stack" fresh >"$data/stack.log" 2>&1 &
    stack_pid=$!
    set +m
    until grep -q '^http://.*/ccompat/' "$data/stack.log" 2>/dev/null; do
        kill -0 "$stack_pid" 2>/dev/null || fail "the stack did not start: $(tail -n 3 "$data/stack.log")"
        sleep 0.1
    done
    { read -r database && read -r _ && read -r kafka && read -r registry; } < <(tail -n 4 "$data/stack.log")
    export POSTHASTE_DATABASE__URL=$database POSTHASTE_KAFKA__BOOTSTRAP=$kafka POSTHASTE_REGISTRY__URL=$registry
    "$posthaste" migrate >"$data/migrate.log" 2>&1 || fail "migrate: $(tail -n 3 "$data/migrate.log")"
}

stop_stack() {
    end_process "$stack_pid" INT
    stack_pid=
}

# start_server ARGUMENT…: `posthaste ARGUMENT…` as the server that is measured, until it is ready.
start_server() {
    "$posthaste" "$@" >"$data/server.log" 2>&1 &
    server_pid=$!
    until_ready "$1"
    postgres_pid=$(head -n 1 "$(find "$data" -name postmaster.pid -print -quit)")
}

# until_ready NAME: waits for what was started as `server_pid`.
until_ready() {
    until curl --silent --fail --output /dev/null "$url/readyz"; do
        kill -0 "$server_pid" 2>/dev/null || fail "posthaste $1 did not start: $(tail -n 3 "$data/server.log")"
        sleep 0.1
    done
}

stop_server() {
    end_process "$server_pid"
    server_pid=
}

# start_ingest NAME=VALUE…: one ingest process, with these in its environment and in that of later commands.
start_ingest() {
    export POSTHASTE_HTTP__LISTEN=127.0.0.1:$port POSTHASTE_LOG=warn "$@"
    start_server ingest
}

# start_dev: everything, on a stack of its own. To be called without another stack.
start_dev() {
    unset POSTHASTE_DATABASE__URL POSTHASTE_KAFKA__BOOTSTRAP POSTHASTE_REGISTRY__URL POSTHASTE_HTTP__LISTEN
    start_server dev --fresh --port "$port" --data-dir "$data/dev"
}

# make_key TENANT SCOPES: the text of a new API key.
make_key() {
    "$posthaste" keys create --name bench --tenant "$1" --scopes "$2" 2>"$data/keys.log" ||
        fail "keys create: $(tail -n 3 "$data/keys.log")"
}

# start_slow_clients: clients that dribble their headers, dribble their bodies and hardly read, until stop_slow_clients.
slow_client_count=600
slow_pids=()
start_slow_clients() {
    local each=$((slow_client_count / 3)) common=(-i 1 -l 600 -p 600 -v 0)
    slowhttptest -H -c "$each" -r "$each" "${common[@]}" -u "$url/v1/tasks" &
    slow_pids+=($!)
    slowhttptest -B -c "$each" -r "$each" "${common[@]}" -t POST -f application/json -s 65536 -u "$url/v1/tasks" &
    slow_pids+=($!)
    slowhttptest -X -c "$each" -r "$each" "${common[@]}" -k 10 -n 1 -z 5 -u "$url/openapi.json" &
    slow_pids+=($!)
    # What they find at first is not what they do to a server that has had them for a while.
    sleep 3
} >"$data/slow.log" 2>&1

stop_slow_clients() {
    local pid
    for pid in "${slow_pids[@]}"; do
        end_process "$pid" KILL
    done
    slow_pids=()
}

# cpu_ms PID [CHILDREN]: processor time of a process, and of its children, those that ended included, when CHILDREN is
# given, milliseconds.
cpu_ms() {
    # cat passes over what ended meanwhile; awk would give up.
    { cat /proc/[0-9]*/stat 2>/dev/null || true; } | awk -v parent="$1" -v with_children="${2:-}" -v tick_ms=$((1000 / $(getconf CLK_TCK))) '
        # The name, in parentheses, may hold anything: fields are counted from behind it.
        { pid = $1; sub(/^.*\) /, ""); own = $12 + $13
          if (pid == parent) sum += own + (with_children ? $14 + $15 : 0)
          else if (with_children && $2 == parent) sum += own }
        END { print sum * tick_ms }'
}

# rss_mb PID [FIELD]: what it holds in memory now, MB; with RssAnon without the pages of its executable and libraries.
rss_mb() {
    awk -v field="${2:-VmRSS}:" '$1 == field { printf "%.1f", $2 * 1024 / 1e6 }' "/proc/$1/status"
}

# load CONNECTIONS SECONDS [OPTION…]: a load by wrk; sets `rate p50 p99 failed`.
load() {
    local connections=$1 seconds=$2 output
    shift 2
    output=$(wrk --threads 1 --connections "$connections" --duration "${seconds}s" --timeout 10s \
        --script "$root/bench/load.lua" "$url" -- "$@") || fail "wrk: $output"
    IFS=$'\t' read -r _ rate p50 p99 failed < <(grep '^measured' <<<"$output")
}

# median VALUE…
median() {
    printf '%s\n' "$@" | sort -n | sed -n "$((($# + 1) / 2))p"
}
