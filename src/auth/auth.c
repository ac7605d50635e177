#include "auth/auth.h"
#include "base/ensure.h"

struct log_area log_auth = { .name = "auth" };
struct log_area *const auth_logs[] = { &log_auth, NULL };

struct setting auth_scram_iterations = {
    .name = "auth.scram-iterations",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_INT,
    .def = 10000,
    .min = 4096, /* RFC 7677 §4 */
    .max = SCRAM_ITERATIONS_MAX,
    .unit = "iterations",
    .doc = "Work factor of PBKDF2 for new passwords. A higher value makes keys that are stolen "
           "from the database harder to crack. With SCRAM the client does the work at each login: "
           "10000 take about 10 ms on a phone, 100000 may take a second in browsers and on small "
           "devices. With PLAIN the server does it. Use 50000 or more if all clients are recent; "
           "RFC 7677 requires at least 4096.",
};
struct setting auth_failures_per_address = {
    .name = "auth.failures-per-address",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_INT,
    .def = 20,
    .min = 1,
    .max = 100000,
    .allow_none = true,
    .unit = "failures",
    .doc =
        "Failed logins from one address (IPv6: one /64 network) within auth.failure-window after "
        "which it is refused for auth.block-time. An IPv6 /48 network may have ten times as many. "
        "Users who logged in from this address before, and devices of an account, are not refused. "
        "Components have the same limit, counted apart.",
};
struct setting auth_failures_per_account = {
    .name = "auth.failures-per-account",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_INT,
    .def = 10,
    .min = 1,
    .max = 100000,
    .allow_none = true,
    .unit = "failures",
    .doc = "Failed logins as one account from one address within auth.failure-window after which "
           "this account is refused at this address for auth.block-time; a successful login starts "
           "the count again. After so many failures from all addresses together further "
           "logins take turns: one in 1 s, with more failures one in up to 8 s; those that would "
           "wait longer than 16 s are refused and may be tried again. Known devices and addresses "
           "do not wait, so nobody can lock a user out.",
};
struct setting auth_failure_window = {
    .name = "auth.failure-window",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_MS,
    .def = 60000,
    .min = 1000,
    .max = 86400000,
    .doc = "Time in which failed logins are counted together.",
};
struct setting auth_block_time = {
    .name = "auth.block-time",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_MS,
    .def = 60000,
    .min = 1000,
    .max = 86400000,
    .doc = "Time for which an address, or an account at an address, with too many failed logins is "
           "refused.",
};

struct setting *const auth_settings[] = {
    &auth_scram_iterations, &auth_failures_per_address, &auth_failures_per_account,
    &auth_failure_window,   &auth_block_time,           NULL,
};

enum kind {
    KIND_PLUS,
    KIND_SCRAM,
    KIND_PLAIN,
    KIND_TOKEN,
    KIND_GUEST,
    KIND_CERTIFICATE,
    KIND_COUNT
};

#define COUNTER(metric_name, what)                                                                 \
    {                                                                                              \
        .name = (metric_name), .kind = METRIC_COUNTER, .help = (what)                              \
    }

static struct metric logins[KIND_COUNT][AUTH_RESULT_COUNT] = {
    { COUNTER("muster_auth_scram_plus_ok", "Logins by SCRAM bound to the TLS channel"),
      COUNTER("muster_auth_scram_plus_failed", "Failed logins by SCRAM bound to the TLS channel") },
    { COUNTER("muster_auth_scram_ok", "Logins by SCRAM"),
      COUNTER("muster_auth_scram_failed", "Failed logins by SCRAM") },
    { COUNTER("muster_auth_plain_ok", "Logins by PLAIN"),
      COUNTER("muster_auth_plain_failed", "Failed logins by PLAIN") },
    { COUNTER("muster_auth_token_ok", "Logins by a token (XEP-0484)"),
      COUNTER("muster_auth_token_failed", "Failed logins by a token (XEP-0484)") },
    { COUNTER("muster_auth_guest_ok", "Logins of guests (ANONYMOUS)"),
      COUNTER("muster_auth_guest_failed", "Refused logins of guests (ANONYMOUS)") },
    { COUNTER("muster_auth_certificate_ok", "Logins by a certificate (EXTERNAL)"),
      COUNTER("muster_auth_certificate_failed", "Failed logins by a certificate (EXTERNAL)") },
};
struct metric auth_throttled =
    COUNTER("muster_auth_throttled", "Logins refused after too many failures");

struct metric auth_blocks =
    COUNTER("muster_auth_blocks", "Addresses, and accounts at an address, that began to be refused "
                                  "after too many failed logins");
struct metric auth_slowed =
    COUNTER("muster_auth_slowed", "Logins delayed because their account is being guessed");
struct metric auth_throttle_entries = {
    .name = "muster_auth_throttle_entries",
    .kind = METRIC_GAUGE,
    .help = "Addresses and accounts with failed logins that are being counted",
};

struct metric *const auth_metrics[] = {
    &logins[KIND_PLUS][AUTH_OK],
    &logins[KIND_PLUS][AUTH_FAILED],
    &logins[KIND_SCRAM][AUTH_OK],
    &logins[KIND_SCRAM][AUTH_FAILED],
    &logins[KIND_PLAIN][AUTH_OK],
    &logins[KIND_PLAIN][AUTH_FAILED],
    &logins[KIND_TOKEN][AUTH_OK],
    &logins[KIND_TOKEN][AUTH_FAILED],
    &logins[KIND_GUEST][AUTH_OK],
    &logins[KIND_GUEST][AUTH_FAILED],
    &logins[KIND_CERTIFICATE][AUTH_OK],
    &logins[KIND_CERTIFICATE][AUTH_FAILED],
    &auth_throttled,
    &auth_blocks,
    &auth_slowed,
    &auth_throttle_entries,
    NULL,
};

void auth_count(enum sasl_mech mech, enum auth_result result)
{
    enum kind kind = mech == SASL_PLAIN         ? KIND_PLAIN
                     : mech == SASL_ANONYMOUS   ? KIND_GUEST
                     : mech == SASL_EXTERNAL    ? KIND_CERTIFICATE
                     : sasl_mech_is_token(mech) ? KIND_TOKEN
                     : sasl_mech_is_plus(mech)  ? KIND_PLUS
                                                : KIND_SCRAM;
    ensure((unsigned)result < AUTH_RESULT_COUNT);
    metric_add(&logins[kind][result], 1);
}
