#!/bin/bash
# compare.sh GENERATOR [RUNS]: the figures of docs/performance.md, Muster and its peers in one run.
#
# GENERATOR is the folder of the load generator: xmppload, run-all.sh and the peer-*.sh scripts. The server has
# CPU 0, the generator CPU 1. Raw results: $OUT (default GENERATOR/results), one JSON line a run.
#   PEERS="ejabberd ejabberd-mam-sqlite prosody-gen relay"   which peers; empty: none
#   PARTS="peers chat durable rate empty"                    which parts
set -eu
generator=$(cd "$1" && pwd)
runs=${2:-3}
here=$(cd "$(dirname "$0")" && pwd)
out=${OUT:-$generator/results}
parts=${PARTS:-peers chat durable rate empty}
server=$here/server.sh
port=${MUSTER_BENCH_PORT:-5722}
export MUSTER_BENCH_PORT=$port
cd "$generator"
[ -x ./xmppload ] || make
mkdir -p "$out"

wanted() { [[ " $parts " == *" $1 "* ]]; }

# One timetable run against the server at HOST PORT PIDS.
rate() { # NAME PORT PIDS RATE LABEL OPTIONS...
    local name=$1 at=$2 pids=$3 rate=$4 label=$5
    shift 5
    taskset -c 1 ./xmppload chat --port "$at" --domain localhost --first 1000 --users 200 --rate "$rate" \
        --server-pid "$pids" --warmup 3 --seconds 7 --scram-cache "$out/$name.scram" --label "$label" \
        --json "$@" >> "$out/$name.jsonl" 2>> "$out/$name.err" || true
}

peers() {
    local peer
    for peer in ${PEERS-ejabberd ejabberd-mam-sqlite prosody-gen relay}; do
        case $peer in
        ejabberd-mam-sqlite) XL_ONLY=durable ./run-all.sh -r "$runs" -o "$out" "$peer" ;;
        *) XL_ONLY="chat idle presence lat50 roster" ./run-all.sh -r "$runs" -o "$out" "$peer" ;;
        esac
    done
}

chat() { # what peers without an archive do
    export DURABLE=off
    XL_REGISTER=1 XL_MUC=0 XL_RESTART="$server restart" XL_ONLY="chat idle presence lat50 roster" \
        ./run-all.sh -r "$runs" -o "$out" muster 127.0.0.1 "$port" localhost "$("$server" restart)"
}

durable() { # default settings, on a database that has seen a year
    local pid i best
    export DURABLE=on
    pid=$("$server" restart)
    ./xmppload register --port "$port" --users 3000 --inflight 50 > "$out/register.log" 2>&1
    "$server" preload
    XL_MUC=0 XL_RESTART="$server restart" XL_ONLY=durable \
        ./run-all.sh -r "$runs" -o "$out" muster-durable 127.0.0.1 "$port" localhost "$("$server" restart)"
    best=$(jq -s '[.[] | select(.label == "durable") | .acks_per_s] | max / 2 | floor' \
        "$out/muster-durable.jsonl")
    for ((i = 0; i < runs; i++)); do
        pid=$("$server" restart)
        rate muster-durable "$port" "$pid" "$best" durable-half --sm --sm-r 1
    done
}

at_9111() {
    local i
    export DURABLE=off
    for ((i = 0; i < runs; i++)); do
        rate muster "$port" "$("$server" restart)" 9111 chat-9111
        "$server" stop
        ./peer-ejabberd.sh start >&2
        rate ejabberd 5422 "$(./peer-ejabberd.sh pids)" 9111 chat-9111
        ./peer-ejabberd.sh stop
    done
}

empty() { # proportional memory and time to ready of a server nobody talks to
    local i pid from
    export DURABLE=on
    for ((i = 0; i < runs; i++)); do
        "$server" stop
        from=$(date +%s%N)
        pid=$("$server" start)
        echo "ready after $((($(date +%s%N) - from) / 1000000)) ms," \
            "PSS $(awk '/^Pss:/ { print $2 }' "/proc/$pid/smaps_rollup") KiB"
    done | tee "$out/empty.txt"
}

export BENCH_CPUS=0
if wanted peers; then peers; fi
if wanted chat; then chat; fi
if wanted durable; then durable; fi
if wanted rate; then at_9111; fi
if wanted empty; then empty; fi
"$server" stop
