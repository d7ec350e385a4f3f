# Runs a program and stops it when standard input closes, which is when the process that started us ends, in whatever way.
# Arguments: the signal for an orderly stop, the program, its arguments. Prints the program's pid; the program's own
# output goes to standard error.
signal=$1
shift
exec 3<&0
"$@" 3<&- </dev/null >&2 &
child=$!
echo "$child"
exec >&-
(
  read -r _ <&3
  # A paused program would not hear the signal, and its children (Postgres' backends) are paused with it.
  # shellcheck disable=SC2046 # a list of pids
  set -- "$child" $(cat "/proc/$child/task/$child/children" 2>/dev/null || pgrep -P "$child")
  kill -s CONT "$@"
  kill -s "$signal" "$child"
  waited=0
  while [ "$waited" -lt 5 ] && kill -s 0 "$child"; do
    sleep 1
    waited=$((waited + 1))
  done
  kill -s KILL "$@"
) >/dev/null 2>&1 &
guard=$!
exec 3<&-
wait "$child"
status=$?
kill -s KILL "$guard" 2>/dev/null
wait "$guard" 2>/dev/null
exit "$status"
