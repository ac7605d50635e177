/* api_auth: who asks, and how often. A request comes over TLS or from this machine, and with a
 * token (RFC 6750 §2.1) or the cookie of a session (api_session.c). Rates are counted by token and
 * by address, in buckets of one second that all workers share; at most RATES_MAX of them, of which
 * each group of 4 gives up its oldest. */
#include "admin/api/api_private.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/setting.h"
#include "home/here.h"
#include "ops/access.h"
#include <pthread.h>
#include <stdio.h>

enum { RATES_MAX = 16384, RATES_GROUP = 4, TOKEN_PART = 1000 };

struct setting api_tls_required = {
    .name = "api.tls-required",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BOOL,
    .def = 1,
    .doc = "Requests to the API come over TLS, here or in front of a trusted proxy, or from this "
           "machine. Others are refused with 403, because their token could be read on the way.",
};
#define REQUESTS_A_SECOND(setting_name, with)                                                      \
    {                                                                                              \
        .name = (setting_name), .scope = SCOPE_NODE, .type = PARAM_INT, .def = 100, .min = 1,      \
        .max = 100000, .allow_none = true, .unit = "requests a second",                            \
        .doc = "Requests to the API " with ". More are answered with 429."                         \
    }
struct setting api_requests_per_token =
    REQUESTS_A_SECOND("api.requests-per-token", "with one token or one session");
struct setting api_requests_per_address =
    REQUESTS_A_SECOND("api.requests-per-address", "from one address, with any token or none");

struct rate {
    uint64_t key; /* keyed hash; 0: free */
    uint64_t filled_us;
    int64_t parts; /* thousandths of a request */
};
static struct rate rates[RATES_MAX];
static pthread_mutex_t rates_lock = PTHREAD_MUTEX_INITIALIZER;

/* Its place, or that of the oldest of its group. */
static struct rate *rate_of(uint64_t key, int64_t full, uint64_t now_us)
{
    struct rate *group = &rates[key % (RATES_MAX / RATES_GROUP) * RATES_GROUP], *oldest = group;
    for (unsigned i = 0; i < RATES_GROUP; i++) {
        if (group[i].key == key)
            return &group[i];
        if (group[i].filled_us < oldest->filled_us)
            oldest = &group[i];
    }
    *oldest = (struct rate){ key, now_us, full };
    return oldest;
}

static bool rate_take(const struct setting *limit, slice who)
{
    int64_t each = setting_int(limit);
    uint64_t now_us = clock_mono_us();
    if (each == SETTING_NONE)
        return true;
    pthread_mutex_lock(&rates_lock);
    struct rate *r = rate_of(hash_keyed(who) | 1, each * TOKEN_PART, now_us);
    uint64_t us = now_us - r->filled_us > 1000000 ? 1000000 : now_us - r->filled_us;
    r->filled_us = now_us;
    r->parts += (int64_t)us * each * TOKEN_PART / 1000000;
    r->parts = r->parts > each * TOKEN_PART ? each * TOKEN_PART : r->parts;
    bool room = r->parts >= TOKEN_PART;
    r->parts -= room ? TOKEN_PART : 0;
    pthread_mutex_unlock(&rates_lock);
    return room;
}

static void too_many(struct http_request *r, const struct setting *limit)
{
    char text[128];
    snprintf(text, sizeof text, "found more requests than %s allows: %lld a second", limit->name,
             (long long)setting_int(limit));
    api_problem(
        r, &(struct api_problem){
               .status = 429, .detail = slice_of(text), .error = err_name(E_LIMIT), .retry_s = 1 });
}

static bool is_own_machine(slice peer)
{
    return slice_starts(peer, SLICE("127.")) || slice_is(peer, "::1");
}

enum err api_who(struct http_request *r, struct principal *who, struct why *why)
{
    slice scheme, given = http_header(r, "Authorization");
    if (api_session_is(r))
        return api_session_who(r, who, why);
    why_set(why, "a valid token is needed: Authorization: Bearer TOKEN");
    if (slice_cut(given, ' ', &scheme, &given) && slice_eq_nocase(scheme, SLICE("Bearer")))
        return access_of_token(worker_here(), given, r->peer, http_scratch(r), who, why);
    return E_AUTH;
}

/* RFC 6750 §3.1. */
static bool has_token(struct http_request *r, struct principal *who)
{
    struct why why;
    enum err e = api_who(r, who, &why);
    if (e == OK)
        return true;
    api_problem(r, &(struct api_problem){ .status = e == E_AUTH ? 401 : api_status(e),
                                          .detail = slice_of(why.text),
                                          .error = err_name(e),
                                          .retry_s = e == E_DOWN ? 1 : 0 });
    return false;
}

bool api_guard(struct http_request *r)
{
    if (!rate_take(&api_requests_per_address, r->peer)) {
        too_many(r, &api_requests_per_address);
        return false;
    }
    if (setting_bool(&api_tls_required) && !r->secure && !is_own_machine(r->peer)) {
        api_problem(r, &(struct api_problem){
                           .status = 403,
                           .detail = SLICE("found a request without TLS from another machine; use "
                                           "https (api.tls-required)"),
                           .error = err_name(E_DENIED) });
        return false;
    }
    return true;
}

bool api_admit(struct http_request *r, struct principal *who)
{
    if (!api_guard(r))
        return false;
    if (api_session_is(r) ? !api_session_admit(r, who) : !has_token(r, who))
        return false;
    if (!rate_take(&api_requests_per_token, who->actor)) {
        too_many(r, &api_requests_per_token);
        return false;
    }
    return true;
}
