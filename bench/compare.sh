#!/bin/bash
# compare.sh [RUNS]: the figures of docs/performance.md: Muster and its peers, taking turns.
#
# The server has CPU 0, the generator (xmppload) CPU 1; every measured run starts a new server process. ejabberd and
# Prosody are installed if they are missing. Raw results: one JSON line a run in $OUT (default build/bench/results);
# report.py makes the table.
#   SERVERS="muster ejabberd prosody relay"   who takes part
#   PARTS="idle chat presence rate copies eventing muc rooms durable empty"
# shellcheck disable=SC2086 # options are split on purpose
set -eu
case ${1:-3} in *[!0-9]*) echo "usage: bench/compare.sh [RUNS]   (it takes half an hour a run; see the head of the file)" >&2; exit 2 ;; esac
runs=${1:-3}
here=$(cd "$(dirname "$0")" && pwd)
build=$(dirname "$here")/build/bench
out=${OUT:-$build/results}
parts=${PARTS:-idle chat presence rate copies eventing muc rooms durable empty}
servers=${SERVERS:-muster ejabberd prosody relay}
server=$here/server.sh
export BENCH_CPUS=0 BENCH_GC=generational # of prosody: its better configuration
ejabberd=$here/peers/ejabberd.sh
prosody=$here/peers/prosody.sh
make -s -C "$here/xmppload" O="$build"
mkdir -p "$out"

part() { [[ " $parts " == *" $1 "* ]]; }
has() { [[ " $servers " == *" $1 "* ]]; }

relay_start() {
    taskset -c 0 "$build/relay" 5333 localhost conference.localhost &
    relay=$!
    until (exec 3<> /dev/tcp/127.0.0.1/5333) 2> /dev/null; do sleep 0.05; done
}

# Starts a fresh process of a server; sets port, pids, extra.
restart() { # NAME
    extra=()
    case $1 in
    muster) DURABLE=off "$server" restart > /dev/null; port=${MUSTER_BENCH_PORT:-5722} pids=$("$server" pids) ;;
    muster-durable) DURABLE=on "$server" restart > /dev/null; port=${MUSTER_BENCH_PORT:-5722} pids=$("$server" pids) ;;
    ejabberd) "$ejabberd" stop; "$ejabberd" start >&2; port=5422 pids=$("$ejabberd" pids) ;;
    ejabberd-mam) export BENCH_MAM=sqlite; "$ejabberd" stop; "$ejabberd" start >&2
        port=5422 pids=$("$ejabberd" pids) ;;
    prosody) "$prosody" stop; "$prosody" start >&2; port=5322 pids=$("$prosody" pids) ;;
    relay) relay_start; port=5333 pids=$relay extra=(--sasl plain) ;;
    esac
    for p in ${pids//,/ }; do taskset -a -cp 0 "$p" > /dev/null; done
}
finish() { # NAME
    case $1 in
    muster*) "$server" stop ;;
    ejabberd*) "$ejabberd" stop; unset BENCH_MAM ;;
    prosody) "$prosody" stop ;;
    relay) kill "$relay"; wait "$relay" 2> /dev/null || true ;;
    esac
}

load() { # NAME LABEL SCENARIO OPTIONS...
    local name=$1 label=$2 scenario=$3
    shift 3
    taskset -c 1 timeout 300 "$build/xmppload" "$scenario" --port "$port" --domain localhost --server-pid "$pids" \
        --scram-cache "$out/$name.scram" --label "$label" --json "${extra[@]}" "$@" \
        >> "$out/$name.jsonl" 2>> "$out/$name.err" || true
    echo "$name $label $(tail -n 1 "$out/$name.jsonl" | jq -r '[.valid, .deliveries_per_cpu_s // .logins_per_cpu_s,
        .acked_per_cpu_s, .srv_cores, .pss_per_session] | @tsv')"
}
measured() { # LABEL SCENARIO OPTIONS...: in turn on each server that takes part
    local label=$1 name
    shift
    for name in $servers; do
        [[ $name == relay && $label != chat && $label != chat-9111 && $label != muc-[0-9]* ]] && continue
        restart "$name"
        [[ $label == idle* ]] && load "$name" warm login --first 200 --users 100 "${@:2:2}" --roster
        load "$name" "$label" "$@"
        finish "$name"
    done
}

accounts() {
    if has muster; then restart muster; load muster register register --users 3000 --inflight 50; finish muster; fi
    if has ejabberd; then
        restart ejabberd; load ejabberd register register --users 3000 --inflight 50; finish ejabberd
    fi
    if has prosody; then "$prosody" stop; "$prosody" users 3000; fi
    for name in $servers; do # the generator's PBKDF2 once
        [ "$name" = relay ] && continue
        restart "$name"
        load "$name" fill login --first 1000 --users 2000
        if part presence; then load "$name" roster setup-roster --users 200 --contacts 50; fi
        finish "$name"
    done
}

# Loads of our own: copies.py, messages between users with three devices each (XEP-0280); eventing.py,
# notifications of 50 contacts (XEP-0163); rooms.py, many rooms or a big one (XEP-0045).
ours() { # SCRIPT [LABEL]
    local name label=${2:-$1}
    for name in $servers; do
        [ "$name" = relay ] && continue
        BENCH_REGISTER=true restart "$name"
        taskset -c 1 timeout 300 python3 "$here/$1.py" "$port" "$pids" "$label" >> "$out/$name.jsonl" \
            2>> "$out/$name.err" || true
        echo "$name $label $(tail -n 1 "$out/$name.jsonl" | jq -r .deliveries_per_cpu_s)"
        finish "$name"
    done
}

# Rooms at half of the highest load of ejabberd, which is counted in deliveries to 100.
muc_half() {
    local i half
    half=$(jq -s '[.[] | select(.label == "muc-100") | .deliveries_per_s] | max / 200 | floor' "$out/ejabberd.jsonl")
    for ((i = 0; i < runs; i++)); do
        measured muc-half muc --first 1000 --rooms 1 --occupants 100 --rate "$half" $times
    done
}

durable() {
    local i half
    restart muster-durable
    finish muster-durable
    "$server" preload
    if has ejabberd; then
        export BENCH_MAM=sqlite
        "$ejabberd" stop; "$ejabberd" wipe
        restart ejabberd-mam
        load ejabberd-mam register register --users 1200 --inflight 50
        finish ejabberd-mam
    fi
    for ((i = 0; i < runs; i++)); do
        restart muster-durable
        load muster durable chat --first 1000 --users 200 --window 4 --sm --sm-r 1 --window-on ack $times
        finish muster-durable
        if has ejabberd; then
            restart ejabberd-mam
            load ejabberd-mam durable chat --first 1000 --users 200 --window 4 --sm --sm-r 1 --window-on ack $times
            finish ejabberd-mam
        fi
    done
    half=$(jq -s '[.[] | select(.label == "durable") | .acks_per_s] | max / 2 | floor' "$out/muster.jsonl")
    for ((i = 0; i < runs; i++)); do
        restart muster-durable
        load muster durable-half chat --first 1000 --users 200 --rate "$half" --sm --sm-r 1 $times
        finish muster-durable
    done
}

empty() { # proportional memory and time to ready of a server nobody talks to
    local i from
    for ((i = 0; i < runs; i++)); do
        from=$(date +%s%N)
        DURABLE=on "$server" start > /dev/null
        echo "ready after $((($(date +%s%N) - from) / 1000000)) ms," \
            "PSS $(awk '/^Pss:/ { print $2 }' "/proc/$("$server" pids)/smaps_rollup") KiB" | tee -a "$out/empty.txt"
        "$server" stop
    done
}

times="--warmup 3 --seconds 5"
chat="chat --first 1000 --users 200 $times"
accounts
for ((run = 0; run < runs; run++)); do
    if part idle; then
        measured idle-tls idle --tls starttls --first 1000 --users 2000 --roster --hold 5
        measured idle-plain idle --tls none --first 1000 --users 2000 --roster --hold 5
    fi
    if part chat; then
        measured chat $chat --window 4
        measured chat-tls $chat --window 4 --tls starttls
        measured chat-sm $chat --window 4 --sm
    fi
    if part presence; then measured presence presence --users 200 --contacts 50 --window 8 --roster $times; fi
    if part copies; then ours copies; fi
    if part eventing; then ours eventing; fi
    if part muc; then
        measured muc-100 muc --first 1000 --rooms 1 --occupants 100 --window 4 $times
        measured muc-50x20 muc --first 1000 --rooms 50 --occupants 20 --window 1 $times
    fi
    if part rooms; then
        ours rooms
        ROOMS=1 CLIENTS=1000 OCCUPANTS=1000 ours rooms meeting
    fi
    if part rate; then measured chat-9111 $chat --rate 9111; fi
done
if part muc && has ejabberd; then muc_half; fi
if part durable; then durable; fi
if part empty; then empty; fi
python3 "$here/report.py" "$out"/*.jsonl
