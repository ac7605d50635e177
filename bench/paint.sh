#!/bin/bash
# paint.sh: how soon the dashboard of the console is there in a browser, with many accounts and rooms. The target is 1 s
# with 10,000 accounts and 2,000 rooms. Needs chromium, chromium-driver and python3-selenium. The server has CPU 0, the
# browser CPU 1. Talks to loopback only.
#   ACCOUNTS=10000 ROOMS=2000 RUNS=9
#   MUSTER_BENCH_DIR, MUSTER_BENCH_PORT as in server.sh
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
case ${1:-} in ?*) sed -n 2,7p "$0"; exit 2 ;; esac
export MUSTER_BENCH_PORT=${MUSTER_BENCH_PORT:-5722}
export MUSTER_BENCH_ADMIN=$((MUSTER_BENCH_PORT + 2))
export MUSTER_BENCH_DIR=${MUSTER_BENCH_DIR:-${TMPDIR:-/tmp}/muster-bench}
musterctl=$(dirname "${MUSTERD:-$root/build/release/musterd}")/musterctl
ctl() { "$musterctl" --socket "$MUSTER_BENCH_DIR/control.sock" --yes "$@" > /dev/null; }
trap '"$here/server.sh" stop' EXIT

"$here/server.sh" restart > /dev/null
ctl admin delete bench 2> /dev/null || true
ctl admin create bench administrator --password "bench of the Console 1"
ctl user add owner@localhost --password "owner of rooms" 2> /dev/null || true
ctl room create hall@conference.localhost owner@localhost 2> /dev/null || true
"$here/server.sh" stop
python3 "$here/paint.py" fill "$MUSTER_BENCH_DIR/data/muster.db" "${ACCOUNTS:-10000}" "${ROOMS:-2000}"
"$here/server.sh" start > /dev/null
taskset -c 1 /usr/bin/python3 "$here/paint.py" measure "$MUSTER_BENCH_ADMIN" bench "bench of the Console 1" "${RUNS:-9}"
