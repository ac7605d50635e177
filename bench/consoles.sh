#!/bin/bash
# consoles.sh: whether an open console slows the traffic: the p99 of chat messages at a fixed rate, alone, and with
# dashboards of the console open (consoles.py) and /metrics read each second. The target is 1.2 times at most.
#
# The server has CPU 0; the generator (xmppload) and the consoles, at a lower priority, have CPU 1. Each measured run
# starts a new server process; runs take turns. Talks to loopback only. The raw results are in build/bench/consoles.json.
#   RATE=9111          messages a second
#   SECONDS_EACH=10    length of a measured run
#   RUNS=5             runs of each kind
#   CONSOLES=10        dashboards
#   MUSTER_BENCH_DIR, MUSTER_BENCH_PORT, DURABLE as in server.sh (here DURABLE=on is the default, too)
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
build=$root/build/bench
case ${1:-} in ?*) sed -n 2,12p "$0"; exit 2 ;; esac
export MUSTER_BENCH_PORT=${MUSTER_BENCH_PORT:-5722}
export MUSTER_BENCH_ADMIN=$((MUSTER_BENCH_PORT + 2))
export MUSTER_BENCH_DIR=${MUSTER_BENCH_DIR:-${TMPDIR:-/tmp}/muster-bench}
musterctl=$(dirname "${MUSTERD:-$root/build/release/musterd}")/musterctl
rate=${RATE:-9111} seconds=${SECONDS_EACH:-10} runs=${RUNS:-5} consoles=${CONSOLES:-10}
out=$build/consoles.json
make -s -C "$here/xmppload" O="$build"
: > "$out"
reader=
trap '[ -z "$reader" ] || kill "$reader" 2> /dev/null; "$here/server.sh" stop' EXIT

load() { # SCENARIO OPTIONS...
    taskset -c 1 timeout 300 "$build/xmppload" "$1" --port "$MUSTER_BENCH_PORT" --domain localhost --first 1000 --users 200 \
        --server-pid "$("$here/server.sh" pids)" --scram-cache "$build/consoles.scram" --json "${@:2}"
}
chat() { # LABEL
    load chat --warmup 3 --seconds "$seconds" --rate "$rate" --label "$1" | tee -a "$out" |
        jq -r '["'"$1"'", .valid, .lat_p50_us, .lat_p99_us, .srv_cores, .gen_util] | @tsv'
}
fresh() { "$here/server.sh" restart > /dev/null; }
open_consoles() {
    token=$("$musterctl" --socket "$MUSTER_BENCH_DIR/control.sock" --json token add "bench$1" administrator --expires 1h |
        jq -r '.rows[0].token')
    taskset -c 1 nice -n 10 /usr/bin/python3 "$here/consoles.py" "$MUSTER_BENCH_ADMIN" "$token" "$consoles" > "$build/consoles.log" &
    reader=$!
    until grep -q open "$build/consoles.log"; do
        kill -0 "$reader" || { echo "the consoles could not be opened" >&2; exit 1; }
        sleep 0.1
    done
}
close_consoles() {
    kill "$reader"
    wait "$reader" || { echo "the consoles were refused something: $(tail -n 1 "$build/consoles.log")" >&2; exit 1; }
    reader=
    tail -n 1 "$build/consoles.log"
}
p99() { # LABEL: the median of its runs
    jq -s '[.[] | select(.label == "'"$1"'") | .lat_p99_us] | sort | .[length / 2 | floor]' "$out"
}

fresh
load register --inflight 50 > /dev/null
printf 'run\tvalid\tp50 us\tp99 us\tcores\tgen\n'
for ((i = 1; i <= runs; i++)); do
    fresh
    chat alone
    fresh
    open_consoles "$i-$$"
    chat consoles
    close_consoles
done
alone=$(p99 alone) with=$(p99 consoles)
jq -n --argjson alone "$alone" --argjson with "$with" -r \
    '"median p99: \($alone) us alone, \($with) us with consoles: \($with / $alone * 100 | round / 100) times, target 1.2"'
