#!/bin/bash
# stages.sh: sourced by ./check. A stage is a function stage_NAME that writes its log to standard
# output and succeeds or fails; how many tests it ran is read from that log. Stages of one row of
# PLAN run side by side, rows one after the other.
# What a shell exported for other programs does not reach the tests.
unset MUSTERD MUSTERCTL PYTHONDONTWRITEBYTECODE
# shellcheck source=tools/install.sh
. tools/install.sh

LOGS=build/log
TEMPORARY_KIB=$((1024 * 1024)) # room that the tests need for temporary files,
BUILD_KIB=$((3 * 1024 * 1024)) # and the programs of all kinds of builds, with the fuzzers' corpora
FUZZ_SECONDS=${FUZZ_SECONDS:-10}
TIER=fast # or all
FAST=(
    "build lint"
    "build-asan compile-tests"
    "unit replay postgresql promises delete"
    "e2e"
    "asan nodes"
)
ALL=(
    "build lint"
    "build-asan build-release compile-tests"
    "unit replay"
    "unit-tsan build-fuzz"
    "fuzz"
    "e2e"
    "slow"
    "asan"
    "nodes promises"
    "postgresql delete"
    "deb"
)
# The packages that a stage needs: kinds of tools/packages.
kinds_of() { # STAGE
    case $1 in
    lint) echo lint ;;
    build*) echo build clang ;;
    unit* | replay | fuzz) echo build clang unit ;;
    compile-tests | e2e | asan | nodes | promises | postgresql | delete) echo build clang e2e ;;
    *) echo build clang unit e2e all ;;
    esac
}

# A folder of src -> the folders of test/ that try it. `./check talk` builds, and runs these and
# the unit tests of src/talk. Lower folders, which everything uses, have what a message needs.
tests_of_folder() { # FOLDER
    case $1 in
    archive) echo archive im/test_offline.py ;;
    admin) echo surface/test_api*.py surface/test_ctl*.py operate/test_config*.py ;;
    app | cert | notify | operate)
        echo operate/test_{alarm,audit,cert,config,doctor,health,metrics,webhooks}*.py
        ;;
    convert) echo operate/test_import*.py ;;
    auth) echo stream/test_{fast,guess,password,sasl}*.py surface/test_console_login.py ;;
    ext) echo services im/test_{blocking,carbons,groups,presence,privacy,roster}*.py ;;
    component) echo services/test_component*.py ;;
    gate) echo stream services/test_component*.py federation/test_s2s{,_in,_sm,_trust}.py ;;
    http) echo stream/test_{http,bosh,websocket}.py services/test_upload.py surface/test_api.py ;;
    account | core | talk | session) echo im stream/test_sm*.py ;;
    muc) echo rooms ;;
    ops) echo operate/test_{audit,jobs,owners,roles,templates,unserved,user_page}*.py services/test_admin.py ;;
    presence) echo im/test_{groups,presence,roster}*.py ;;
    pubsub) echo services/test_{pep,pubsub}*.py ;;
    remote) echo federation/test_remote*.py ;;
    probe) echo federation/test_*imtest*.py ;;
    store) echo archive promise/test_store*.py ;;
    *) echo stream im/test_{message,messaging,presence,roster}.py ;;
    esac
}

# --- what runs ---

make_quiet() { make --no-print-directory "$@"; }

tests_of() { # MODE FOLDER...: names of the unit tests in these folders
    local mode=$1 folder
    shift
    for folder in "$@"; do
        find "src/$folder" "$folder" -name '*_test.c' 2> /dev/null | sort |
            sed "s|^src/||; s|^\(.*\)\.c$|build/$mode/\1|"
    done
}

folders() { { find src -mindepth 1 -maxdepth 1 -type d -printf '%f\n'; echo convert; } | sort; }

UNIT_LIMIT=300 # seconds of one test program, on any machine
unit_one() { # TEST LOG: a program, or one that is in build/MODE/units
    local units run=("$1")
    units=build/$(cut -d / -f 2 <<< "$1")/units
    [ -x "$1" ] || run=("$units" "$(cut -d / -f 3- <<< "$1")")
    if [ ! -x "${run[0]}" ]; then
        echo "@failed $1: not built" > "$2"
    elif ! timeout "$UNIT_LIMIT" "${run[@]}" > "$2" 2>&1; then
        grep -q 'FAILED' "$2" || echo "@failed $1: ended early" >> "$2"
    else
        return 0
    fi
    return 1
}

# Programs in which an assertion failed run once more, one after the other (see AGAIN_MAX). What a
# sanitizer found, a crash and a test that does not end stay failed.
FAILED_TEST='^\[  FAILED  \] \([a-z]\w*\)$'
units_again() { # FOLDER OF LOGS, TEST...
    local logs=$1 test log names missed=()
    shift
    for test in "$@"; do
        log=$logs/${test//\//.}
        if grep -qE '^@failed|Sanitizer|runtime error:' "$log"; then return 1; fi
        if grep -q "$FAILED_TEST" "$log"; then missed+=("$test"); fi
    done
    [ "${#missed[@]}" -gt 0 ] && [ "${#missed[@]}" -le "$AGAIN_MAX" ] || return 1
    for test in "${missed[@]}"; do
        log=$logs/${test//\//.}
        names=$(sed -n "s/$FAILED_TEST/\1/p" "$log" | sort -u | tr '\n' ' ')
        unit_one "$test" "$TMPDIR/again" || return 1
        mv "$TMPDIR/again" "$log"
        echo "@again ${test##*/}: ${names% }" >> "$log"
    done
}

# Runs each test program, four at a time, as some of them wait, and those of the store first, which wait
# longest, for databases that do not answer; one that crashes does not stop the others.
run_units() { # MODE FOLDER...
    local tests failed=0 logs=$LOGS/units.$1
    mapfile -t tests < <(tests_of "$@")
    rm -rf "$logs"
    mkdir -p "$logs"
    export UNIT_LIMIT
    export -f unit_one
    # shellcheck disable=SC2016 # expanded by the inner shell
    printf '%s\n' "${tests[@]}" | sed '/store/!s/^/~/; /pgsql_test$/s/^/ /' | LC_ALL=C sort | tr -d '~ ' |
        xargs -P 4 -n 1 bash -c 'unit_one "$1" "$0/${1//\//.}"' "$logs" ||
        units_again "$logs" "${tests[@]}" || failed=1
    cat "$logs"/*
    return "$failed"
}

# More at a time than a small machine has processors: tests mostly wait. So each is given more time
# than when it runs alone, and enough for a machine that is busy with other things. Each test is
# bounded (test/harness/bounded.py), and a run that no test of which ends for STILL_SECONDS is ended.
STILL_SECONDS=900
WORKERS=6
pytest_once() { # MODE ARGUMENT...
    local mode=$1 child log=$TMPDIR/pytest.$BASHPID code=0
    shift
    : > "$log" # it is there before tail begins
    MUSTER_TIMEOUT=${MUSTER_TIMEOUT:-60} MUSTERD=$PWD/build/$mode/musterd MUSTERCTL=$PWD/build/${CTL_MODE:-$mode}/musterctl \
        PYTHONPYCACHEPREFIX=$PWD/build/pycache MUSTER_DURATIONS=$PWD/$LOGS/durations.tsv \
        /usr/bin/python3 -m pytest -q --tb=short -rfEs \
        -o addopts=--strict-markers -o cache_dir="$TMPDIR/cache" "$@" >> "$log" 2>&1 &
    child=$!
    tail -f --pid="$child" -n +1 "$log" &
    while sleep 1 && kill -0 "$child" 2> /dev/null; do
        [ "$(($(date +%s) - $(stat -c %Y "$log")))" -lt "$STILL_SECONDS" ] || kill -9 "$child"
    done
    wait "$child" || code=$?
    wait
    return "$code"
}

# Out of 12,000 tests with real clients, one may fail because the machine was busy with something
# else. So up to AGAIN_MAX that failed run once more, one after the other. Those that pass then are
# named in the summary: each deserves a look. Where pytest itself failed (an error between
# tests, in a hook or in what carries reports), tests are missing, though its exit code may be 0: the
# whole run is made anew, once, and the summary names the error.
AGAIN_MAX=3
pytest_error() { # LOG: the error of the process that ran tests, or else of the one that collects
    grep -aoP 'INTERNALERROR> E +\K[\w.]*(Error|Exception|Exit|Failed)\b(?!: Traceback).*' "$1" ||
        grep -aoP 'INTERNALERROR> \K\w[\w.]*(Error|Exception|Exit|Failed)\b.*' "$1" || grep -a INTERNALERROR "$1"
}
ended_early() { grep -aq 'INTERNALERROR>' "$1"; } # LOG
run_pytest() { # MODE ARGUMENT...
    local code missed again=$TMPDIR/again place=$TMPDIR/t # short, since paths of sockets are
    while [ -e "$place" ]; do place+=t; done              # a stage with two runs keeps both
    pytest_once "$@" -n "$WORKERS" --basetemp="$place" | tee "$TMPDIR/first"
    code=${PIPESTATUS[0]}
    if ended_early "$TMPDIR/first"; then
        printf '@anew %s\n' "$(pytest_error "$TMPDIR/first" | head -n 1)"
        pytest_once "$@" -n "$WORKERS" --basetemp="$place.anew" | tee "$TMPDIR/first"
        code=${PIPESTATUS[0]}
        ! ended_early "$TMPDIR/first" || return 1
    fi
    [ "$code" -eq 1 ] || return "$code" # 1: tests failed
    mapfile -t missed < <(python3 -c 'import json, sys; print(*json.load(open(sys.argv[1])), sep="\n")' \
        "$TMPDIR/cache/v/cache/lastfailed" 2> /dev/null)
    [ "${#missed[@]}" -gt 0 ] && [ "${#missed[@]}" -le "$AGAIN_MAX" ] || return 1
    if ! pytest_once "$@" -n 0 --basetemp="$place.again" --lf --lfnf=none > "$again"; then
        sed 's/^/again: /' "$again"
        return 1
    fi
    printf '@again %s\n' "${missed[@]}"
    cat "$again"
}

stage_lint() { tools/lint; }
stage_build() { make_quiet -j2 MODE=checked all && tools/docs_current build/checked; }
stage_build-asan() { make_quiet -j2 MODE=asan all build/asan/units build/asan/replay units-alone; }
# Tests are compiled once here, and not by each process of the first run with pytest. Some ask the
# program for its rows to make their cases.
stage_compile-tests() {
    make_quiet -j2 MODE=checked all || return
    PYTHONPYCACHEPREFIX=$PWD/build/pycache MUSTERD=$PWD/build/checked/musterd /usr/bin/python3 -m pytest -q \
        -o addopts=--strict-markers -o cache_dir="$TMPDIR/cache" --collect-only test | tail -n 20
    return "${PIPESTATUS[0]}"
}
stage_build-release() { make_quiet -j2 all; }
stage_unit() { mapfile -t all < <(unit_folders) && run_units asan "${all[@]}"; }
stage_unit-tsan() {
    mapfile -t tests < <(tests_of tsan io store bus)
    make_quiet -k -j2 MODE=tsan "${tests[@]}" && run_units tsan io store bus
}
stage_replay() { make_quiet -j2 MODE=asan build/asan/replay && build/asan/replay; }
stage_build-fuzz() { make_quiet -j2 -k fuzz-build; }
unit_folders() { if [ "${#FOLDERS[@]}" -gt 0 ]; then printf '%s\n' "${FOLDERS[@]}"; else folders; fi; }

# What libFuzzer found goes into the summary, as small as it could be made: another machine's log is
# all that is left of it there. A unit that took too long, but not when it runs alone, is named only.
UNIT_SECONDS=10
TIMED_OUT=70 # the exit code of libFuzzer for that
# Runs the target, and what took too long once more by itself. Leaves what it found in $found.
fuzz_run() { # TARGET ARGUMENT...
    local code=0
    "$@" "${options[@]}" "${inputs[@]}" || code=$?
    [ "$code" -eq "$TIMED_OUT" ] || return "$code"
    "$1" -timeout="$UNIT_SECONDS" "$found" || return
    echo "@again $name: a unit took more than $UNIT_SECONDS s"
}
# Prints what was found, as small as some seconds make it.
fuzz_tell() { # TARGET
    [ -f "$found" ] || return 0
    timeout "$((6 * UNIT_SECONDS))" "$1" -minimize_crash=1 -max_total_time="$UNIT_SECONDS" -timeout="$UNIT_SECONDS" \
        -exact_artifact_path="$found.small" "$found" > /dev/null 2>&1
    [ -s "$found.small" ] || cp "$found" "$found.small"
    base64 -w 100 "$found.small" | sed 's/^/@input /'
}
fuzz_one() { # TARGET
    local name found seeds options inputs=() failed=0
    name=$(basename "$1" _fuzz)
    found=$LOGS/$name-found
    seeds=fuzz/corpus/$name
    rm -f "$found" "$found.small"
    options=(-timeout="$UNIT_SECONDS" -rss_limit_mb=2048 -exact_artifact_path="$found")
    if [ -d "$seeds" ]; then
        inputs=("$seeds")
        fuzz_run "$1" -runs=0 || failed=1
    fi
    [ -f "fuzz/dict/${name%%_*}.dict" ] && options+=(-dict="fuzz/dict/${name%%_*}.dict")
    mkdir -p "$LOGS/corpus/$name"
    inputs=("$LOGS/corpus/$name" "${inputs[@]}") # what is new goes into the first one
    [ "$failed" -ne 0 ] || fuzz_run "$1" -max_total_time="$FUZZ_SECONDS" -print_final_stats=1 || failed=1
    if [ "$failed" -eq 0 ]; then
        echo "@passed $name"
    else
        echo "@failed $name"
        fuzz_tell "$1"
    fi
    return "$failed"
}

stage_fuzz() {
    local target failed=0
    export LOGS FUZZ_SECONDS UNIT_SECONDS TIMED_OUT
    export -f fuzz_one fuzz_run fuzz_tell
    make_quiet -k fuzz-build || failed=1
    # shellcheck disable=SC2016 # expanded by the inner shell
    find src convert -name '*_fuzz.c' | sort | sed 's|^src/||; s|\(.*\)\.c$|build/fuzz/\1|' |
        xargs -P 2 -n 1 bash -c 'fuzz_one "$0" > "$LOGS/target.${0##*/}" 2>&1' || failed=1
    for target in "$LOGS"/target.*; do
        cat "$target"
        rm "$target"
    done
    return "$failed"
}

# A part of the suite runs on two nodes, too, each client on the one that is not its account's home.
# What cannot run so, and why, is in test/harness/nodes.py.
ON_TWO_NODES=(
    test/im/test_{account_life,blocking,carbons,deleted,directed,frozen,invisible,message,messaging}.py
    test/im/test_{multicast,offline,outside_lost,policy,presence,privacy,roster,subscription,successors}.py
    test/stream/test_{bind,csi,fast,hand_over,sm,sm_repeats}.py
    test/archive/test_{mam,mam_search}.py
    test/services/test_{adhoc,admin,bookmarks,component,pep,proxy65,pubsub,pubsub_consent,pubsub_contacts,push,services,upload}.py
    test/operate/test_trace_message.py
    test/federation/test_s2s{,_in,_sm}.py
    test/rooms/test_{enter,administrators,alias,commands,files,follow,lock,modern,moderator,occupant,owner,promise,register,sessions,views}.py
)
# The other database: MUSTER_DATABASE chooses it for any run of the tests.
ON_POSTGRESQL=(
    test/archive/test_{archive_quota,mam,mam_search,mam_retention}.py test/im/test_{deleted,offline,roster}.py
    test/operate/test_{health,rename}.py test/promise/test_together.py test/rooms/test_{archive,files,follow}.py
    test/services/test_{pubsub_leavers,push,search,services}.py
)

# What a stage of the fast tier takes of its tests: always the same ones, by their names.
part() { # ONE OF
    [ "$TIER" = all ] || echo "--part=$1"
}

# All tests under two seconds. In half of them connections move to the worker that is the home of
# the account, in the others streams and sessions stay on different workers.
stage_e2e() {
    local failed=0 where=(test)
    if [ "${#FOLDERS[@]}" -gt 0 ]; then mapfile -t where < <(test_paths "${FOLDERS[@]}"); fi
    make_quiet -j2 MODE=checked all || return
    install_js || { echo "@failed npm ci in test/js"; failed=1; }
    install_chat || { echo "@failed make web"; failed=1; }
    run_pytest checked --migration=mixed -m "not slow" --ignore=test/promise/test_promises.py \
        "${where[@]}" || failed=1
    return "$failed"
}
test_paths() { # FOLDER...
    local folder
    for folder in "$@"; do
        # shellcheck disable=SC2046 # one word a path
        (cd test && printf 'test/%s\n' $(tests_of_folder "$folder"))
    done | sort -u
}
# The tests that take longer, and those that measure the release.
stage_slow() {
    make_quiet -j2 all && install_js && install_chat &&
        run_pytest release --migration=mixed -m "slow or release" --ignore=test/promise/test_promises.py test
}
# A program with the sanitizers takes long to start, and most tests call musterctl: those that are
# not about it have that of the other build. With `all`, half of the tests run here, and most of the
# others on two nodes.
stage_asan() {
    local which=(--half=2)
    [ "$TIER" = all ] || which=(--part=48) WORKERS=2 # each process reads all tests first
    make_quiet -j2 MODE=checked all && make_quiet -j2 MODE=asan all || return
    CTL_MODE=checked run_pytest asan -m "not slow and not release" "${which[@]}" \
        --ignore-glob='*/test_ctl*' test || return
    [ "$TIER" = fast ] || run_pytest asan -m "not slow and not release" "${which[@]}" test/surface/test_ctl*.py
}
stage_nodes() {
    local which=(--half=1)
    [ "$TIER" = all ] || which=(--part=48) WORKERS=3
    export MUSTER_TEST_NODES=2
    make_quiet -j2 MODE=checked all &&
        run_pytest checked -m "not slow and not release" "${which[@]}" test/promise/test_nodes.py "${ON_TWO_NODES[@]}"
}

# Each operation is acknowledged, and the process killed at that moment: mostly waiting.
# shellcheck disable=SC2046 # one word or none
stage_promises() {
    make_quiet -j2 MODE=checked all && run_pytest checked $(part 10) test/promise/test_promises.py
}

# shellcheck disable=SC2046 # as above
stage_postgresql() {
    make_quiet -j2 MODE=checked all || return
    MUSTER_DATABASE=postgresql MUSTER_TOGETHER=20 run_pytest checked -m "not slow" $(part 12) "${ON_POSTGRESQL[@]}" || return
    [ "$TIER" = fast ] || {
        MUSTER_DATABASE=postgresql run_pytest checked test/surface/test_api.py -k "pages or begin_to_end or etag or audit_log" &&
            MUSTER_DATABASE=postgresql run_pytest checked test/promise/test_promises.py -k on_postgresql
    }
}

# The server builds and starts without any one feature.
DELETED=(ping room/hats)
stage_delete() {
    [ "$TIER" = fast ] || DELETED=()
    make_quiet -j2 MODE=checked all && MODE=checked tools/check_delete.py "${DELETED[@]}"
}

# On a clean system, which needs root and debootstrap; says why it is left out.
stage_deb() {
    local code=0
    make_quiet all && timeout 1200 tools/test_deb || code=$?
    [ "$code" -ne 77 ] || echo "@skipped deb"
    [ "$code" -eq 77 ] || return "$code"
}

# --- what is counted and printed ---

# Sums of a log: cmocka ("[  PASSED  ] 3 test(s)."), pytest ("3 passed, 1 failed in 2s"), @passed.
count() { # LOG -> "passed failed skipped"
    awk '/^\[ +PASSED +\] [0-9]+ test/ { passed += $4 }
         /^\[ +FAILED +\] [^:]*: [0-9]+ test/ { sub(/.*: /, ""); failed += $1; next }
         /^\[ +FAILED +\] [0-9]+ test/ { failed += $4 }
         /^@passed/ { passed++ }
         /^@failed/ { failed++ }
         /^@skipped/ { skipped++ }
         /^@again/ { failed -= of_last; of_last = 0 } # what failed in the last run of pytest
         /^@anew/ { passed -= passed_last; failed -= of_last; skipped -= skipped_last }
         /^[0-9]+ (passed|failed|skipped|error)|^no tests ran/ && / in [0-9.]+s/ {
             of_last = passed_last = skipped_last = 0
             for (i = 1; i < NF; i++) {
                 if ($(i + 1) ~ /^passed/) passed_last += $i
                 if ($(i + 1) ~ /^(failed|error)/) of_last += $i
                 if ($(i + 1) ~ /^skipped/) skipped_last += $i
             }
             passed += passed_last; failed += of_last; skipped += skipped_last }
         END { print passed + 0, failed + 0, skipped + 0 }' "$1"
}

# What went wrong: the lines that say so, or else the end of the log.
INPUT_LINES_MAX=60 # 4.5 KB, more than a unit of the fuzzers has
explain() { # LOG
    local lines=10 found=$LOGS/found.$$
    grep -m 1 -o 'No space left on device' "$1"
    grep -hE -e '^@failed|^@anew|^\[  FAILED  \] [^0-9]|^(FAILED|ERROR) |: (fatal )?error:|: message:|^make: \*\*\*' \
        -e '^ensure failed|^SUMMARY: |^\[  ERROR   \]' "$1" > "$found"
    if [ -s "$found" ]; then
        head -n "$lines" "$found"
        [ "$(wc -l < "$found")" -le "$lines" ] || echo "... and $(($(wc -l < "$found") - lines)) more"
    else
        tail -n "$lines" "$1"
    fi
    grep -h -m "$INPUT_LINES_MAX" '^@input ' "$1" | sed '1i what it was given, in Base64:' | sed 's/^@input //'
    rm -f "$found"
}

# --- progress, on a terminal only ---

say() { # TEXT: a line in the place of the progress
    [ -t 1 ] && printf '\r\033[K'
    printf '%s\n' "$1"
}

# How far a stage is: percent of its tests, or how many test programs have ended.
progress_of() { # NAME
    local log=$LOGS/$1.log units=$LOGS/units percent
    case $1 in
    unit) units=$units.asan ;;
    unit-*) units=$units.${1#unit-} ;;
    esac
    percent=$(grep -ao '\[ *[0-9]*%\]' "$log" 2> /dev/null | tail -n 1 | tr -d '[] ')
    if [ -n "$percent" ]; then
        printf ' %s %s' "$1" "$percent"
    elif [ -d "$units" ]; then
        printf ' %s %d programs' "$1" "$(find "$units" -type f | wc -l)"
    else
        printf ' %s' "$1"
    fi
}

watch_stages() { # NAME...: shows how far they are, until they have ended
    local name text start=$SECONDS
    [ -t 1 ] || return 0
    while [ -n "$(jobs -rp)" ]; do
        text=
        for name in "$@"; do
            [ -e "$LOGS/$name.count" ] || text+=$(progress_of "$name")
        done
        printf '\r\033[K%.*s' "$(($(tput cols 2> /dev/null || echo 80) - 1))" "$((SECONDS - start)) s:$text"
        sleep 0.5
    done
    printf '\r\033[K'
}

run_stage() { # NAME: one line, and the numbers into $LOGS/NAME.count
    local name=$1 log=$LOGS/$1.log start=$EPOCHREALTIME ok=ok passed failed skipped seconds
    mkdir -p "$SCRATCH/$name"
    TMPDIR=$SCRATCH/$name "stage_$name" > "$log" 2>&1 || ok=FAILED
    seconds=$(awk -v a="$start" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f", b - a }')
    read -r passed failed skipped <<< "$(count "$log")"
    local summary="$passed tests"
    [ "$((passed + failed + skipped))" -eq 0 ] && summary=
    if [ "$ok" = ok ] && [ "$failed" -gt 0 ]; then ok=FAILED; fi
    if [ "$ok" = FAILED ] && [ "$failed" -eq 0 ]; then failed=1; fi
    if [ "$ok" = ok ] && [ -z "$summary" ]; then passed=1; fi
    if [ "$skipped" -gt 0 ]; then summary="$summary, $skipped skipped"; fi
    if grep -q '^@skipped' "$log"; then summary="$(grep -m 1 '^skipped: ' "$log")"; fi
    if [ "$ok" = FAILED ]; then summary="${summary:+$summary, }$failed failed"; fi
    {
        printf '%-16s %-6s %7ss%s\n' "$name" "$ok" "$seconds" "${summary:+  ($summary)}"
        if [ "$ok" = FAILED ]; then
            explain "$log" | cut -c 1-160 | sed 's/^/    /'
            echo "    the whole log: $log"
            echo "    files of the tests that failed: $SCRATCH/$name"
        else
            sed -n -e 's/^@again \(.*\)/    failed, and passed when run again: \1/p' \
                -e 's/^@anew \(.*\)/    pytest ended early, and was run anew: \1/p' "$log"
            rm -rf "${SCRATCH:?}/$name"
        fi
    } > "$LOGS/$name.line"
    echo "$passed $failed" > "$LOGS/$name.count"
    say "$(cat "$LOGS/$name.line")"
}

free_kib() { df --output=avail -k "$1" | tail -n 1 | tr -d ' '; }

# In memory where there is enough of it: thousands of servers write and delete small files.
choose_temporary() {
    [ -n "${TMPDIR:-}" ] || [ ! -w /dev/shm ] || [ "$(free_kib /dev/shm)" -lt "$((4 * TEMPORARY_KIB))" ] ||
        export TMPDIR=/dev/shm
}

# Tells and checks the free space before anything begins.
check_space() {
    local temporary=${TMPDIR:-/tmp} needed=$TEMPORARY_KIB place free enough=yes
    for place in "$temporary" build; do
        free=$(free_kib "$place")
        [ "$place" = build ] && needed=$((BUILD_KIB - $(du -sk build | cut -f 1)))
        [ "$needed" -gt 0 ] || continue
        if [ "$free" -lt "$needed" ]; then
            echo "$place: $((free / 1024)) MiB are free, up to $((needed / 1024)) MiB are needed" >&2
            enough=no
        fi
    done
    [ $enough = yes ] && return 0
    echo "Free some space, or name another folder for temporary files: TMPDIR=/var/tmp ./check" >&2
    return 1
}

# What ./check leaves to ./check all, in a line.
tell_left_out() {
    local listed
    [ "$TIER" = fast ] || return 0
    listed=$(grep -c '::' test/slow.txt)
    echo "left out: $listed tests over two seconds; most of asan, nodes, postgresql, promises and delete;" \
        "tsan, fuzzing, the release build, the Debian package: ./check all"
}

# Tests that took over two seconds without saying why; on a slow or busy machine there are more.
tell_slow() {
    local count
    [ -s "$LOGS/durations.tsv" ] || return 0
    count=$(tools/slow.py --new "$LOGS/durations.tsv" | tee "$LOGS/slow.new" | wc -l)
    [ "$count" -eq 0 ] || echo "$count tests took over two seconds and are not marked slow: $LOGS/slow.new"
}

usage() {
    echo "no stage or folder '$1'"
    echo "stages: ${FAST[*]}; with all also: build-release unit-tsan build-fuzz fuzz slow deb"
    echo "folders: $(folders | tr '\n' ' ')"
} >&2

# Stages and folders of the arguments, into STAGES and FOLDERS.
read_arguments() { # ARGUMENT...
    local name
    STAGES=() FOLDERS=()
    for name in "$@"; do
        if [ "$name" = all ]; then
            TIER=all
        elif declare -F "stage_$name" > /dev/null; then
            STAGES+=("$name")
        elif { [ -d "src/$name" ] || [ "$name" = convert ]; } && [[ $name != */* ]]; then
            FOLDERS+=("$name")
        else
            usage "$name"
            return 1
        fi
    done
    if [ "${#FOLDERS[@]}" -gt 0 ] && [ "${#STAGES[@]}" -eq 0 ]; then
        STAGES=(lint build build-asan unit e2e)
    fi
    PLAN=("${FAST[@]}")
    if [ "$TIER" = all ] || [ "${#STAGES[@]}" -gt 0 ]; then PLAN=("${ALL[@]}"); fi
}

descendants() { # PID: its own number last
    local child
    for child in $(pgrep -P "$1"); do descendants "$child"; done
    echo "$1"
}
# Stages are not in the foreground, so Ctrl-C does not reach them.
stop_check() {
    local child
    trap '' INT TERM
    for child in $(jobs -rp); do
        # shellcheck disable=SC2046 # one word each
        kill $(descendants "$child") 2> /dev/null
    done
    wait
    rm -rf "$SCRATCH"
    say "stopped"
    exit 130
}

run_check() {
    local row name names kinds=() wanted start=$EPOCHREALTIME
    read_arguments "$@" || return 2
    mkdir -p "$LOGS"
    rm -f "$LOGS"/*.count "$LOGS/durations.tsv"
    choose_temporary
    check_space || return 2
    wanted=("${PLAN[@]}")
    [ "${#STAGES[@]}" -eq 0 ] || wanted=("${STAGES[@]}")
    read -ra wanted <<< "${wanted[*]}"
    for name in "${wanted[@]}"; do
        read -ra names <<< "$(kinds_of "$name")"
        kinds+=("${names[@]}")
    done
    install_packages "$LOGS/install.log" "${kinds[@]}" || echo "going on without these packages" >&2
    SCRATCH=$(mktemp -d -t muster-check.XXXXXX)
    trap stop_check INT TERM
    chmod 755 "$SCRATCH" # PostgreSQL runs as a user of its own
    for row in "${PLAN[@]}"; do
        names=()
        for name in $row; do
            if [[ " ${wanted[*]} " == *" $name "* ]]; then
                run_stage "$name" &
                names+=("$name")
            fi
        done
        watch_stages "${names[@]}"
        wait
    done
    rmdir "$SCRATCH" 2> /dev/null || : # a stage that failed has left its files there
    tell_slow
    [ "${#STAGES[@]}" -gt 0 ] || tell_left_out
    awk -v a="$start" -v b="$EPOCHREALTIME" 'BEGIN { printf "all in %.0f s\n", b - a }'
    cat "$LOGS"/*.count | awk '{ passed += $1; failed += $2 }
        END { printf "%d passed, %d failed\n", passed, failed; exit failed > 0 }'
}
