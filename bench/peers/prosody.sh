#!/bin/bash
# prosody.sh start|stop|pids|status|users NUM [FIRST]|count|wipe
# Prosody (Debian package) from a scratch folder: plain and STARTTLS on 127.0.0.1:5322, direct TLS
# on 5323. BENCH_GC=generational sets Lua's collector. See common.sh for the other variables.
PEER=prosody
# shellcheck source=bench/peers/common.sh
. "$(dirname "$0")/common.sh"
PORT=${BENCH_PORT:-5322}
TLSPORT=$((PORT + 1))

install_pkg() {
    [ -x /usr/bin/prosody ] && { [ -z "$S2S" ] || ls /usr/lib/*/lua/5.4/lunbound.so > /dev/null 2>&1; } && return
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        prosody lua-sec lua-event lua-unbound >&2
}

config() {
    install_pkg
    mkdir -p "$DIR/data" "$DIR/certs"
    gc=
    if [ -n "${BENCH_GC:-}" ]; then gc="gc = { mode = \"$BENCH_GC\" }"; fi
    make_cert "$DIR/certs"
    s2s='modules_disabled = { "s2s" }' level=warn cafile=
    if [ -n "$S2S" ]; then
        cafile="cafile = \"$DIR/certs/ca.pem\";"
        level=info # says how streams of other servers are authenticated
        s2s="s2s_ports = { $S2S }
s2s_direct_tls_ports = { }
s2s_secure_auth = true
unbound = { resolvconf = false; hoststxt = false; forward = { \"127.0.0.1@$BENCH_DNS\" };
    options = { [\"do-not-query-localhost:\"] = \"no\"; [\"module-config:\"] = \"iterator\" } }"
    fi
    cat > "$DIR/prosody.cfg.lua" <<CFG
-- Debian's default modules, less invites, s2s, dialback and limits, plus nothing.
pidfile = "$DIR/prosody.pid"
data_path = "$DIR/data"
network_backend = "epoll"
$gc
network_settings = { tcp_backlog = 1024 }
modules_enabled = {
    "disco"; "roster"; "saslauth"; "tls"; "blocklist"; "bookmarks"; "carbons"; "pep"; "private";
    "smacks"; "vcard4"; "vcard_legacy"; "csi_simple"; "ping"; "register"; "time"; "uptime";
    "version"; "admin_shell"; "posix";
}
$s2s
interfaces = { "$BENCH_ADDR" }
local_interfaces = { "$BENCH_ADDR" }
c2s_ports = { $PORT }
c2s_direct_tls_ports = { $TLSPORT }
http_ports = { }
https_ports = { }
c2s_require_encryption = false
allow_unencrypted_plain_auth = true
authentication = "internal_hashed"
default_iteration_count = $BENCH_ITER
storage = "internal"
allow_registration = ${BENCH_REGISTER:-false}
admin_socket = "$DIR/prosody.sock"
log = { $level = "$DIR/prosody.log" }
ssl = { key = "$DIR/certs/key.pem"; certificate = "$DIR/certs/cert.pem"; $cafile }
certificates = "$DIR/certs"
VirtualHost "$DOMAIN"
Component "conference.$DOMAIN" "muc"
CFG
    chown -R prosody:prosody "$DIR"
}

case ${1:-} in
start)
    is_running && { echo "$PEER: already running"; exit 1; }
    config
    : > "$DIR/prosody.log"; chown prosody "$DIR/prosody.log"
    ulimit -n 20000
    cd "$DIR" || exit 1
    # shellcheck disable=SC2046
    setsid setpriv --reuid=prosody --regid=prosody --init-groups $(pin) \
        /usr/bin/prosody -F --config "$DIR/prosody.cfg.lua" > "$DIR/out.log" 2>&1 < /dev/null &
    echo $! > "$PIDFILE"
    wait_port "$PORT" 20
    echo "$PEER: running, pid $(server_pid), $BENCH_ADDR:$PORT (TLS $TLSPORT)"
    ;;
stop) stop_pid ;;
status)
    if is_running; then echo "$PEER: running, pid $(server_pid)"; else echo "$PEER: stopped"; exit 3; fi
    ;;
pid|pids) server_pid ;;
users)                                           # account files, written directly
    config
    acc=$DIR/data/${DOMAIN//./%2e}/accounts
    mkdir -p "$acc"
    read -r sh vh _ _ salt _ it <<< "$(scram_keys)"
    python3 - "$acc" "${3:-0}" "$2" "$sh" "$vh" "$salt" "$it" <<'PY'
import sys
acc, first, num, stored, server, salt, it = sys.argv[1:]
text = ('return {\n\t["iteration_count"] = %s;\n\t["salt"] = "%s";\n\t["stored_key"] = "%s";\n'
        '\t["server_key"] = "%s";\n};\n' % (it, salt, stored, server))
for i in range(int(first), int(first) + int(num)):
    with open("%s/user%d.dat" % (acc, i), "w") as f:
        f.write(text)
PY
    chown -R prosody:prosody "$DIR/data"
    ;;
count)                                           # sessions, as the server counts them
    cd "$DIR" || exit 1
    # the first line of output: "Total: N clients"
    setpriv --reuid=prosody --regid=prosody --init-groups \
        prosodyctl --config "$DIR/prosody.cfg.lua" shell 'c2s:count()' 2>&1 | tail -3
    ;;
wipe) is_running && { echo "stop it first"; exit 1; }; rm -rf "$DIR" ;;
*) sed -n 2,4p "$0"; exit 2 ;;
esac
