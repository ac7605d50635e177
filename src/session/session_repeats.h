/* session_repeats: what a client may send again when it has resumed its session. XEP-0198 §5 has it
 * repeat every stanza that the server's h does not cover, and some of these are being handled, or
 * are handled behind one that is not. They are recognised by their content, so that none is handled
 * twice, and a client that repeats fewer, or goes on with others, loses nothing.
 *
 * A repeat has the kind, type, addressee, id and children of the stanza that it repeats; delay
 * stamps may be added. Stanzas without an id are compared until the first stanza that is no repeat,
 * those with an id until the client has sent twice as many stanzas as there were to repeat.
 *
 * Confined to the home worker of the account. Limit: REPEATS_MAX of 24 bytes, the newest; those
 * that are not handled stay, and flow control bounds them (session/session_input.c). */
#pragma once
#include "base/slice.h"
#include <stdbool.h>
#include <stdint.h>

struct buf;
struct session;
struct stanza;

/* What the h of a session waits for, of one inbound stanza. */
struct ticket {
    uint64_t mark : 45;    /* of its content; 0: not resumable */
    uint64_t get : 1;      /* it is a request of type get */
    uint64_t named : 1;    /* it has an id */
    uint64_t again : 1;    /* it is a repeat: its reports come to the first copy */
    uint64_t awaited : 16; /* reports */
};

/* More than a client can have unfinished, so it loses none that it repeats. One that resumes again
 * and again and repeats nothing would gather others without limit. */
enum { REPEATS_MAX = 2048 };

struct ticket repeat_ticket(const struct session *s, const struct stanza *st);

/* At resumption: the tickets above h are kept as what may be repeated. */
void repeats_begin(struct session *s);
/* Stanza number s->in_count repeats one of them: its ticket. false: it is new. */
bool repeats_take(struct session *s, const struct stanza *st, struct ticket *t);
/* A report for a stanza from before the resumption. The number of its repeat that is handled by
 * that is in `again`; false: none is. */
bool repeats_reported(struct session *s, uint32_t count, uint32_t *again);
/* The ticket of a stanza from before the resumption; NULL: it is not known any more. */
struct ticket *repeats_ticket(const struct session *s, uint32_t count);
/* How many of them are not handled yet. */
uint32_t repeats_open(const struct session *s);

/* The tickets that h does not cover, as REPEAT_BYTES each, and back. A stanza that is not handled
 * by then is handled when it is repeated; its ticket keeps the order of those without an id. */
enum { REPEAT_BYTES = 8 };
void repeats_save(const struct session *s, struct buf *out);
void repeats_restore(struct session *s, slice saved);

/* A ticket as a number, and back. */
static inline uint64_t ticket_number(struct ticket t)
{
    return (uint64_t)t.mark | (uint64_t)t.get << 45 | (uint64_t)t.named << 46 |
           (uint64_t)t.again << 47 | (uint64_t)t.awaited << 48;
}
static inline struct ticket ticket_of_number(uint64_t n)
{
    return (struct ticket){ .mark = n & ((1ull << 45) - 1),
                            .get = n >> 45 & 1,
                            .named = n >> 46 & 1,
                            .again = n >> 47 & 1,
                            .awaited = (uint16_t)(n >> 48) };
}
/* What is left of an earlier resumption, whole: for a move to another node, to which the reports
 * come that are awaited. What is unpacked replaces what there is. */
void repeats_pack(const struct session *s, struct buf *out);
bool repeats_are_packed(slice packed);
void repeats_unpack(struct session *s, slice packed); /* such bytes */
