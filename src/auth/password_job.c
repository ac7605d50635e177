#include "auth/password_job.h"
#include "base/clock.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "base/rand.h"
#include "io/loop.h"

static const enum scram_hash HASH = SCRAM_SHA_512;

/* All keys are looked at. */
static void password_compare(struct password_job *j)
{
    struct scram_keys nobody;
    char secret[32];
    for (unsigned i = 0; i < j->count; i++)
        j->fits = scram_verify(&j->keys[i], HASH, j->password) || j->fits;
    if (j->count > 0 || j->makes)
        return;
    rand_bytes(secret, sizeof secret);
    scram_fake_keys(&nobody, HASH, SLICE("nobody"), (slice){ secret, sizeof secret },
                    PASSWORD_ITERATIONS);
    (void)scram_verify(&nobody, HASH, j->password);
}

static void password_make(struct password_job *j)
{
    char salt[SCRAM_SALT_LEN];
    rand_bytes(salt, sizeof salt);
    scram_derive(&j->made, HASH, j->password, (slice){ salt, sizeof salt }, PASSWORD_ITERATIONS);
}

/* Counted here, where the comparison is made: auth/throttle.h. A login without account never waits
 * for its turn. */
static void password_job_run(struct work *w)
{
    struct password_job *j = CONTAINER_OF(w, struct password_job, work);
    uint32_t wait_ms = 0;
    if (j->try != NULL)
        j->e = throttle_take(j->throttle, j->try, clock_mono_us(), &wait_ms);
    if (j->e != OK)
        return;
    password_compare(j);
    if (j->try != NULL && j->fits)
        throttle_passed(j->throttle, j->try, clock_mono_us());
    else if (j->try != NULL)
        throttle_failed(j->throttle, j->try, clock_mono_us());
    if (j->makes && !j->fits)
        password_make(j);
}

static void password_job_done(struct work *w)
{
    struct password_job *j = CONTAINER_OF(w, struct password_job, work);
    if (w->skipped)
        j->e = E_AGAIN;
    j->done(j);
}

static void password_job_refused(struct loop_defer *d)
{
    struct password_job *j = CONTAINER_OF(d, struct password_job, refused);
    j->e = E_AGAIN;
    j->done(j);
}

void password_run(const struct auth *a, struct password_job *j)
{
    ensure(j->count <= PASSWORD_KEYS_MAX && j->done != NULL);
    j->throttle = a->throttle;
    j->e = OK;
    j->fits = false;
    j->work = (struct work){ .run = password_job_run,
                             .done = password_job_done,
                             .lane = j->try != NULL ? j->try->address | 1 : 0,
                             .may_skip = true };
    if (work_submit(a->pool, a->loop, &j->work) == OK)
        return;
    j->refused.fn = password_job_refused;
    loop_defer(a->loop, &j->refused);
}
