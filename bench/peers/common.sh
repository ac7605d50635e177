#!/bin/bash
# common.sh: sourced by the scripts of the peers. Settings may come from the environment:
#   BENCH_TMP  scratch root (/tmp/bench)        BENCH_ADDR  listen address (127.0.0.1)
#   BENCH_CPUS CPU list for the server ("" = not pinned)
#   BENCH_PASS password of every account (secret)   BENCH_ITER SCRAM iterations (4096)
#   BENCH_KEY  ec | rsa: key of the self-signed certificate (ec = P-256, rsa = 2048 bit)
# For servers that federate (../federation.sh):
#   BENCH_DOMAIN domain (localhost)         BENCH_NAME suffix of the folder, so that two run beside each other
#   BENCH_S2S  port for other servers; then these are needed: BENCH_CERT path of the certificate (.pem) and its key
#              (.key) without the ending, BENCH_CA the authority of the others, BENCH_DNS port of the name server
set -eu
BENCH_TMP=${BENCH_TMP:-/tmp/bench}
BENCH_ADDR=${BENCH_ADDR:-127.0.0.1}
BENCH_CPUS=${BENCH_CPUS:-}
BENCH_PASS=${BENCH_PASS:-secret}
BENCH_ITER=${BENCH_ITER:-4096}
BENCH_KEY=${BENCH_KEY:-ec}
DOMAIN=${BENCH_DOMAIN:-localhost}
DIR=$BENCH_TMP/$PEER${BENCH_NAME:+-$BENCH_NAME}
export S2S=${BENCH_S2S:-}
PIDFILE=$DIR/bench.pid

case $BENCH_ADDR in 127.*) ;; *) echo "BENCH_ADDR must be in 127.0.0.0/8" >&2; exit 2 ;; esac

make_cert() {                                    # $1 = folder; writes cert.pem and key.pem there
    if [ -n "${BENCH_CERT:-}" ]; then
        cp "$BENCH_CERT.pem" "$1/cert.pem"
        cp "$BENCH_CERT.key" "$1/key.pem"
        cp "$BENCH_CA" "$1/ca.pem"
        cat "$1/key.pem" "$1/cert.pem" > "$1/both.pem"
        return 0
    fi
    [ -s "$1/cert.pem" ] && return 0
    if [ "$BENCH_KEY" = rsa ]; then alg="-newkey rsa:2048"
    else alg="-newkey ec -pkeyopt ec_paramgen_curve:prime256v1"; fi
    # shellcheck disable=SC2086
    openssl req -x509 $alg -nodes -days 365 -subj "/CN=$DOMAIN" \
        -addext "subjectAltName=DNS:$DOMAIN,DNS:conference.$DOMAIN" \
        -keyout "$1/key.pem" -out "$1/cert.pem" 2>/dev/null
    cat "$1/key.pem" "$1/cert.pem" > "$1/both.pem"
}

# Prints "stored-hex server-hex stored-b64 server-b64 salt salt-b64 iterations"; one salt for all
# accounts, so that creating many of them costs no PBKDF2 for each.
scram_keys() {
    python3 - "$BENCH_PASS" "$BENCH_ITER" <<'PY'
import base64, hashlib, hmac, sys
pw, it, salt = sys.argv[1].encode(), int(sys.argv[2]), b"xmppload-bench-salt"
sp = hashlib.pbkdf2_hmac("sha1", pw, salt, it)
stored = hashlib.sha1(hmac.new(sp, b"Client Key", "sha1").digest()).digest()
server = hmac.new(sp, b"Server Key", "sha1").digest()
b = lambda x: base64.b64encode(x).decode()
print(stored.hex(), server.hex(), b(stored), b(server), salt.decode(), b(salt), it)
PY
}

server_pid() { cat "$PIDFILE" 2>/dev/null || true; }

is_running() {
    p=$(server_pid)
    [ -n "$p" ] && kill -0 "$p" 2>/dev/null
}

wait_port() {                                    # $1 = port, $2 = seconds
    i=0
    while ! (exec 3<>"/dev/tcp/$BENCH_ADDR/$1") 2>/dev/null; do
        i=$((i + 1))
        [ $i -gt $(($2 * 10)) ] && { echo "$PEER: nothing listens on $BENCH_ADDR:$1" >&2; return 1; }
        is_running || { echo "$PEER: the server ended, see $DIR" >&2; return 1; }
        sleep 0.1
    done
}

stop_pid() {                                     # ends only the process that this script started
    p=$(server_pid)
    if [ -n "$p" ] && kill -0 "$p" 2>/dev/null; then
        kill -TERM "$p"
        i=0
        while kill -0 "$p" 2>/dev/null; do
            i=$((i + 1))
            [ $i -gt 150 ] && { kill -KILL "$p"; sleep 0.5; break; }
            sleep 0.1
        done
    fi
    rm -f "$PIDFILE"
}

pin() { if [ -n "$BENCH_CPUS" ]; then echo "taskset -c $BENCH_CPUS"; fi; }
