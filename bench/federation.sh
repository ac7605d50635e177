#!/bin/bash
# federation.sh: what federation costs: two servers of each kind and one link over TLS between them.
#
# The servers share CPU 0, the generator (xmppload) has CPU 1. It installs ejabberd, Prosody and dnsmasq from Debian if
# they are missing, talks to loopback only, takes less than 8 minutes and prints a table for each part. The raw
# figures are in build/bench/federation.json.
#   PARTS="chat durable setup burst idle"     which parts
#   SERVERS="muster ejabberd prosody"         who takes part in chat and durable
#   SECONDS_EACH=5                            length of a measured run of these
#   LINKS=5000                                links in each direction, of the part idle
#   BENCH_FIRST=1                             the servers of setup and burst go before other programs of the machine
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
case ${1:-} in ?*) sed -n 2,13p "$0"; exit 2 ;; esac
musterd=${MUSTERD:-$root/build/release/musterd}
[ -x "$musterd" ] || { echo "no $musterd: run make first, or set MUSTERD" >&2; exit 2; }
install() { DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@" >&2; }
[ -x /usr/sbin/dnsmasq ] || install dnsmasq-base
ulimit -n "$(ulimit -Hn)"
make -s -C "$here/xmppload" O="$root/build/bench"
MUSTERD=$musterd exec /usr/bin/python3 "$here/federated"
