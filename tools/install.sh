#!/bin/bash
# install.sh: sourced. Installs what tools/packages lists and the machine lacks.

# Debian packages of these kinds that are not there, as `missing`.
find_missing() { # KIND...
    local name tool wanted
    missing=()
    wanted=$(awk -v kinds=" $* " '/^[^#]/ {
        n = split($1, of, ",")
        for (i = 1; i <= n; i++)
            if (index(kinds, " " of[i] " ")) { print $2, $3; next } }' tools/packages)
    while read -r name tool; do
        [ -n "$tool" ] && command -v "$tool" > /dev/null && continue
        dpkg-query -W -f '${db:Status-Abbrev}' "$name" 2>/dev/null | grep -q '^ii' ||
            missing+=("$name")
    done <<< "$wanted"
}

# Shows what apt-get reports on its status descriptor, "pmstatus:PACKAGE:PERCENT:TEXT": on a terminal
# one line that changes, else a line for each tenth.
show_progress() {
    local kind percent text tenth=-1
    while IFS=: read -r kind _ percent text; do
        case $kind in pmstatus | dlstatus) ;; *) continue ;; esac
        percent=${percent%%[.,]*}
        if [ -t 1 ]; then
            printf '\r\033[K%.78s' "    ${percent}% $text"
        elif [ "$kind" = pmstatus ] && [ "$((percent / 10))" -gt "$tenth" ]; then
            tenth=$((percent / 10))
            echo "    $percent%"
        fi
    done
    [ -t 1 ] && printf '\r\033[K'
    return 0
}

# install_packages LOG KIND...: asks the network only when a package is missing, and then says so.
install_packages() {
    local log=$1 missing sudo=() status server
    shift
    find_missing "$@"
    [ "${#missing[@]}" -eq 0 ] && return 0
    if [ "$(id -u)" -ne 0 ]; then
        if ! command -v sudo > /dev/null; then
            echo "packages are missing and there is no sudo; as root: apt-get install ${missing[*]}" >&2
            return 1
        fi
        sudo=(sudo)
    fi
    echo "installing ${#missing[@]} packages and what they need: ${missing[*]}"
    case " ${missing[*]} " in
    *" postgresql "*) # its programs are wanted, no database that is started with the machine
        "${sudo[@]}" mkdir -p /etc/postgresql-common/createcluster.d
        echo "create_main_cluster = false" |
            "${sudo[@]}" tee /etc/postgresql-common/createcluster.d/muster.conf > /dev/null ;;
    esac
    "${sudo[@]}" mkdir -p /etc/systemd/system
    for server in ejabberd prosody biboumi ngircd snmptrapd; do # nor servers that take the ports of ours
        case " ${missing[*]} " in
        *" $server "*)
            "${sudo[@]}" ln -sfn /dev/null "/etc/systemd/system/$server.service"
            "${sudo[@]}" ln -sfn /dev/null "/etc/systemd/system/$server.socket" ;;
        esac
    done
    : > "$log"
    [ -n "$(find /var/lib/apt/lists -name '*_Packages*' -mtime -1 -print -quit 2> /dev/null)" ] ||
        "${sudo[@]}" apt-get update -q >> "$log" 2>&1
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends \
        -o APT::Status-Fd=3 "${missing[@]}" 3>&1 >> "$log" 2>&1 | show_progress
    status=${PIPESTATUS[0]}
    [ "$status" -eq 0 ] && return 0
    grep -aE '^(E|W): ' "$log" | tail -n 5 >&2
    echo "packages could not be installed; the whole log: $log" >&2
    return 1
}

# install_js: the npm packages of test/js, from its lock file.
install_js() {
    [ test/js/node_modules/.package-lock.json -nt test/js/package-lock.json ] && return 0
    npm ci --prefix test/js --no-audit --no-fund --loglevel=error &&
        touch test/js/node_modules/.package-lock.json
}

# install_chat: the chat client of web/chat, where it is not there or older than what makes it.
install_chat() {
    local file
    for file in web/chat/* tools/web; do
        [ build/share/muster/chat/index.html -nt "$file" ] || { tools/web; return; }
    done
}
