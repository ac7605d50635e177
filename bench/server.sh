#!/bin/bash
# server.sh start|stop|restart|pids|preload: musterd for a load generator, on loopback, pinned to one CPU.
#
# A scratch folder holds node file, data and control socket: $MUSTER_BENCH_DIR (default: muster-bench in the system's
# folder for temporary files). No rate limits, registration in-band, plain and STARTTLS on $MUSTER_BENCH_PORT
# (default 5722), direct TLS on the next port. `restart` and `start` print the process id.
#
#   MUSTER_BENCH_ADMIN=PORT  opens the listener http_admin, for the console and the API
#   DURABLE=off     sets im.durable-ack off (as peers without an archive); default on
#   BENCH_CPU=0     the CPU
#   preload         adds 25,000 accounts and 1,000,000 archived messages to the stopped server's database, and lets the
#                   server count and index them
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
dir=${MUSTER_BENCH_DIR:-${TMPDIR:-/tmp}/muster-bench}
port=${MUSTER_BENCH_PORT:-5722}
binary=${MUSTERD:-$root/build/release/musterd}

config() {
    mkdir -p "$dir"
    cat > "$dir/muster.yaml" <<CFG
node: bench
node_id: 1
domains: [localhost]
data: $dir/data
control: $dir/control.sock
workers: 1
listen:
  c2s: ["127.0.0.1:$port"]
  c2s_tls: ["127.0.0.1:$((port + 1))"]
${MUSTER_BENCH_ADMIN:+  http_admin: ["127.0.0.1:$MUSTER_BENCH_ADMIN"]
}log: {level: warn}
settings:
  c2s.tls-required: off
  im.durable-ack: ${DURABLE:-on}
  c2s.stanza-rate: none
  presence.change-rate: 100
  c2s.byte-rate: none
  c2s.connections-per-address: none
  roster.contacts-max: none
  roster.watchers-max: none
  register.enabled: on
  register.password-min: 6
  register.per-address-per-hour: none
  auth.scram-iterations: 4096
  muc.message-rate: none
  muc.owner-occupants: on
  muc.rooms-max: 1000000
  muc.persistent-max: 1000000
  muc.rooms-per-user: none
  muc.new-occupants: 1000
CFG
}

running() { [ -f "$dir/pid" ] && kill -0 "$(cat "$dir/pid")" 2> /dev/null; }

start() {
    config
    taskset -c "${BENCH_CPU:-0}" "$binary" --config "$dir/muster.yaml" > "$dir/log" 2>&1 < /dev/null &
    echo $! > "$dir/pid"
    for _ in $(seq 5000); do
        running || { cat "$dir/log" >&2; exit 1; }
        (exec 3<> "/dev/tcp/127.0.0.1/$port") 2> /dev/null && break
        sleep 0.001
    done
    running || { cat "$dir/log" >&2; exit 1; }
    cat "$dir/pid"
}

stop() {
    running || return 0
    kill "$(cat "$dir/pid")"
    while running; do sleep 0.02; done
    rm -f "$dir/pid"
}

case ${1:-} in
start) start ;;
stop) stop ;;
restart) stop; start ;;
pids) cat "$dir/pid" ;;
preload)
    stop
    python3 "$root/bench/preload.py" "$dir/data/muster.db"
    start > /dev/null
    python3 "$root/bench/preload.py" --settle "$dir/data/muster.db"
    stop
    ;;
*) sed -n 2,12p "$0"; exit 2 ;;
esac
