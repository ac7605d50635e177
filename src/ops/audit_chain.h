/* audit_chain: an entry of the audit log, its hash, and the head, for the part that appends
 * (ops/audit.c) and the part that verifies (ops/audit_verify.c). */
#pragma once
#include "base/list.h"
#include "base/slice.h"
#include <stdbool.h>
#include <stdint.h>

struct arena;
struct log_area;
struct setting;
struct store_batch;
struct store_stmt;

/* Commands of entries that the server writes: the log is not as it left it; the key is another one,
 * and the ends of the log are sealed again from here on; the key is away, and the ends are not
 * sealed; it is back, and entries until here were written without it. */
#define AUDIT_BROKEN       "audit broken"
#define AUDIT_RESET        "audit reset"
#define AUDIT_UNSEALED     "audit unsealed"
#define AUDIT_SEALED       "audit sealed"
#define AUDIT_HEAD_CONTEXT "audit head"

/* An argument of commands that read entries in their order. */
#define AUDIT_BEHIND_ARG                                                                           \
    {                                                                                              \
        .name = "after", .kind = ARG_OPTION, .type = PARAM_INT, .min = 0, .max = PARAM_NONE,       \
        .doc = "only entries behind this number"                                                   \
    }

enum { AUDIT_FIELDS = 8, AUDIT_HASH = 64, AUDIT_ACTOR_MAX = 4096 };

/* An entry is its texts, and what is computed of them when it is appended. */
struct audit_texts {
    uint64_t at_us;
    slice text[AUDIT_FIELDS]; /* actor, peer, role, command, args, result, was, became */
    uint64_t job;             /* that ended with it: ops/audit_job.h; 0: none */
};

struct audit_end {
    int64_t first, number; /* the oldest entry and the newest; 0: there is none */
    int64_t reset; /* the last AUDIT_RESET, if entries before it are there: nobody can say whether
                    * these are as they were when the key was lost; 0: none */
    char hash[AUDIT_HASH + 1];
};

/* Who compares the ends of the log waits until the server, after its start, has done so and written
 * what it found: `fn` is called then, or when the database does not answer; at once, if the server
 * has. Only on the worker at the home of DUTY_AUDIT, not after that has stopped. */
struct audit_waiter {
    struct list node;
    void (*fn)(struct audit_waiter *a);
};
void audit_wait(struct audit_waiter *a);
bool audit_has_begun(void);
/* For the part that appends: at its start; and when it has begun, or cannot. */
void audit_wait_begin(void);
void audit_wake(bool begun);

extern struct log_area log_audit;
extern struct setting audit_keep;

/* Entries behind $1, at most $2: their ids, then what audit_texts_of() reads, then the hash. */
extern struct store_stmt audit_page_stmt, audit_head_stmt;
/* The newest entry, its hash, and the oldest. */
extern struct store_stmt audit_last_stmt;
void audit_texts_of(const struct store_batch *b, uint32_t row, struct audit_texts *out);

/* The hash of an entry covers every text with its length before it, so no two entries give the
 * same bytes. */
void audit_hash(char out[AUDIT_HASH + 1], slice before, int64_t id, const struct audit_texts *t);
slice audit_head_text(const struct audit_end *end, struct arena *tmp);
/* Of a statement that has read the head; sets `reset`. Without the key nobody can say that it does
 * not. */
bool audit_head_fits(const struct store_batch *b, unsigned stmt, struct audit_end *end);
/* Reads the head. false: there is none, or this key does not open it. */
bool audit_head_read(const struct store_batch *b, unsigned stmt, struct audit_end *out);
