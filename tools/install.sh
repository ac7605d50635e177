#!/bin/bash
# install.sh: sourced. Installs what tools/packages lists and the machine lacks.

# install_packages KIND...: Debian packages; asks the network only when one is missing.
install_packages() {
    local wanted missing=() name tool sudo=
    wanted=$(awk -v kinds=" $* " '/^[^#]/ && index(kinds, " " $1 " ") { print $2, $3 }' tools/packages)
    while read -r name tool; do
        [ -n "$tool" ] && command -v "$tool" > /dev/null && continue
        dpkg-query -W -f '${db:Status-Abbrev}' "$name" 2>/dev/null | grep -q '^ii' ||
            missing+=("$name")
    done <<< "$wanted"
    [ "${#missing[@]}" -eq 0 ] && return 0
    if [ "$(id -u)" -ne 0 ] && ! sudo=$(command -v sudo); then
        echo "packages are missing and there is no sudo; as root: apt-get install ${missing[*]}" >&2
        return 1
    fi
    echo "installing ${missing[*]}"
    case " ${missing[*]} " in
    *" postgresql "*) # its programs are wanted, no database that is started with the machine
        $sudo mkdir -p /etc/postgresql-common/createcluster.d
        echo "create_main_cluster = false" |
            $sudo tee /etc/postgresql-common/createcluster.d/muster.conf > /dev/null ;;
    esac
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends \
        "${missing[@]}" ||
        { $sudo apt-get update -q &&
            $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -q \
                --no-install-recommends "${missing[@]}"; }
}

# install_js: the npm packages of test/js, from its lock file.
install_js() {
    [ test/js/node_modules/.package-lock.json -nt test/js/package-lock.json ] && return 0
    npm ci --prefix test/js --no-audit --no-fund --loglevel=error &&
        touch test/js/node_modules/.package-lock.json
}

# install_chat: the chat client of web/chat, where it is not there or is of another lock file.
install_chat() {
    [ build/share/muster/chat -nt web/chat/package-lock.json ] &&
        [ build/share/muster/chat -nt web/chat/start.js ] && return 0
    tools/web
}
