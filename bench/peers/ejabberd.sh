#!/bin/bash
# ejabberd.sh start|stop|pids|status|wipe
# ejabberd (Debian package) from a scratch folder: plain and STARTTLS on 127.0.0.1:5422, direct TLS
# on 5423. Accounts come by in-band registration (`xmppload register`). BENCH_MAM=sqlite or mnesia
# archives messages there. See common.sh for the other environment variables.
MAM=${BENCH_MAM:-}
PEER=ejabberd${MAM:+-mam-$MAM}
# shellcheck source=bench/peers/common.sh
. "$(dirname "$0")/common.sh"
PORT=${BENCH_PORT:-5422}
TLSPORT=$((PORT + 1))

install_pkg() {
    [ -x /usr/sbin/ejabberdctl ] && return
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        ejabberd erlang-p1-sqlite3 >&2
}

config() {
    mkdir -p "$DIR/spool" "$DIR/certs"
    make_cert "$DIR/certs"
    inetrc=/etc/ejabberd/inetrc
    s2s='' s2s_listener='' level=warning
    if [ -n "$S2S" ]; then
        # It asks our name server for SRV records, but the system for addresses.
        inetrc=$DIR/inetrc
        printf '{resolv_conf, ""}.\n{nameserver, {127,0,0,1}, %s}.\n' "$BENCH_DNS" > "$inetrc"
        s2s="s2s_use_starttls: required
ca_file: \"$DIR/certs/ca.pem\""
        s2s_listener="  - { port: $S2S, ip: \"$BENCH_ADDR\", module: ejabberd_s2s_in, max_stanza_size: 262144 }"
        level=info # says how streams of other servers are authenticated
    fi
    mam=
    case $MAM in
    sqlite) mam="  mod_mam: { db_type: sql, default: always }" ;;
    mnesia) mam="  mod_mam: { db_type: mnesia, default: always }" ;;
    esac
    cat > "$DIR/ejabberd.yml" <<CFG
# Debian's default modules, less s2s, HTTP, proxy, fail2ban and every shaper.
hosts: [ $DOMAIN ]
loglevel: $level
$s2s
certfiles: [ "$DIR/certs/both.pem" ]
auth_method: mnesia
auth_password_format: scram
auth_scram_hash: sha
registration_timeout: infinity
max_fsm_queue: 100000
cache_size: 100000
sql_type: sqlite
sql_database: "$DIR/spool/mam.db"
listen:
  - { port: $PORT, ip: "$BENCH_ADDR", module: ejabberd_c2s, access: c2s, starttls: true, max_stanza_size: 262144, backlog: 1024 }
  - { port: $TLSPORT, ip: "$BENCH_ADDR", module: ejabberd_c2s, access: c2s, tls: true, max_stanza_size: 262144, backlog: 1024 }
$s2s_listener
access_rules:
  local: { allow: all }
  c2s: { allow: all }
  muc_create: { allow: all }
  register: { allow: all }
modules:
  mod_adhoc: {}
  mod_admin_extra: {}
  mod_avatar: {}
  mod_blocking: {}
  mod_caps: {}
  mod_carboncopy: {}
  mod_client_state: {}
  mod_disco: {}
  mod_last: {}
$mam
  mod_muc: { access: [allow], access_create: muc_create, max_users: 1000, default_room_options: { mam: false } }
  mod_offline: {}
  mod_ping: {}
  mod_privacy: {}
  mod_private: {}
  mod_pubsub: { plugins: [flat, pep] }
  mod_register: { access: register, ip_access: all, allow_modules: all }
  mod_roster: { versioning: true }
  mod_shared_roster: {}
  mod_stream_mgmt: {}
  mod_vcard: {}
  mod_vcard_xupdate: {}
  mod_version: {}
CFG
    chown -R ejabberd:ejabberd "$DIR"
}

case ${1:-} in
start)
    is_running && { echo "$PEER: already running"; exit 1; }
    install_pkg
    config
    ulimit -n 20000
    cd "$DIR" || exit 1
    # No distribution (no epmd); no busy waiting of the schedulers, so that CPU time is work done.
    # shellcheck disable=SC2046
    HOME="$DIR" EJABBERD_CONFIG_PATH="$DIR/ejabberd.yml" EJABBERD_LOG_PATH="$DIR/ejabberd.log" \
    ERL_CRASH_DUMP="$DIR/crash.dump" ERL_MAX_PORTS=65536 ERL_INETRC="$inetrc" \
    ERL_LIBS=/usr/lib/x86_64-linux-gnu \
    setsid setpriv --reuid=ejabberd --regid=ejabberd --init-groups $(pin) \
        erl +K true +P 250000 +sbwt none +sbwtdcpu none +sbwtdio none \
        -mnesia dir "\"$DIR/spool\"" -noinput -s ejabberd > "$DIR/out.log" 2>&1 < /dev/null &
    echo $! > "$PIDFILE"
    wait_port "$PORT" 40
    sleep 1
    echo "$PEER: running, pid $(server_pid), $BENCH_ADDR:$PORT (TLS $TLSPORT)"
    ;;
stop) stop_pid ;;
pid|pids) server_pid ;;
status)
    if is_running; then echo "$PEER: running, pid $(server_pid)"; else echo "$PEER: stopped"; exit 3; fi
    ;;
wipe) is_running && { echo "stop it first"; exit 1; }; rm -rf "$DIR" ;;
*) sed -n 2,5p "$0"; exit 2 ;;
esac
