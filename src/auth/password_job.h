/* password_job: passwords of people that are not accounts (ops/administrators.h), compared with
 * stored keys and turned into keys on helper threads, as slow as those of accounts. All keys have
 * the same number of iterations, and a job without keys compares with one that fits nothing, so its
 * time does not tell whether there is such a person.
 *
 * A job belongs to its owner, who keeps it and what it borrows until `done`. On the loop of `struct
 * auth`. Limits: those of io/work.h; jobs from one address run one after the other. */
#pragma once
#include "auth/credentials.h"
#include "auth/throttle.h"
#include "io/work.h"

enum { PASSWORD_KEYS_MAX = 25, PASSWORD_ITERATIONS = 210000 };

struct password_job {
    struct work work;
    struct loop_defer refused;
    struct throttle *throttle;
    slice password; /* prepared, borrowed */
    const struct scram_keys *keys;
    unsigned count;           /* of keys, at most PASSWORD_KEYS_MAX */
    struct throttle_try *try; /* counted as a login from its address; NULL: it is none */
    bool makes;               /* new keys, if none of these fits */
    enum err e;               /* E_AGAIN: too many wait; E_DENIED: the address is refused now */
    bool fits;                /* one of the keys */
    struct scram_keys made;
    void (*done)(struct password_job *j); /* once, later */
    void *arg;
};
void password_run(const struct auth *a, struct password_job *j);
