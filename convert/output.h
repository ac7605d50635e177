/* output: the folder that muster-convert writes, and a server imports (docs/import.md):
 *
 *   accounts.xml   the accounts, in the portable format (XEP-0227)
 *   rooms/N.jsonl  a room, as `room export` writes it
 *   more.jsonl     a line of JSON for each room, group, member of a group, and for what is lost:
 *
 *   {"type":"room","name":…,"host":…,"file":"rooms/1.jsonl","lost":[…]}, or "refused":WHY
 *   {"type":"group","name":…,"host":…,"shown":…,"members":true,"all":false,"domain":false,
 *    "sees":[NAME…],"lost":[…]}, or "refused":WHY; again of the same group: more of it
 *   {"type":"member","group":…,"host":…,"jid":…}
 *   {"type":"lost","what":"table last_activity","count":2,"first":"ann@example.org"}
 *
 * Everything of the source is written, or counted by name as lost.
 *
 * Limits: LOST_NAMES_MAX names of what is lost; what is beyond is counted as one. A server takes
 * OUTPUT_GROUPS_MAX groups, and OUTPUT_MEMBERS_MAX members of all of them. */
#pragma once
#include "base/buf.h"
#include "base/err.h"
#include "base/map.h"
#include <stdio.h>

struct xml_write;

enum { LOST_NAMES_MAX = 500, OUTPUT_GROUPS_MAX = 10000, OUTPUT_MEMBERS_MAX = 1000000 };

struct text_list {
    struct text_list *next;
    slice text;
};

struct output {
    const char *folder;
    FILE *accounts, *more;
    struct arena *arena;
    struct map lost;
    char *host; /* whose <host/> is open; NULL: none is */
    uint64_t users, rooms, groups, refused, told_us;
    bool progress; /* percentages go to standard output */
    int error;     /* errno */
};

/* Makes the folder, or takes an empty one. E_IO: `why` says what is wrong. */
NODISCARD enum err output_open(struct output *o, const char *folder, struct why *why);
/* E_IO: it could not be written. */
NODISCARD enum err output_close(struct output *o, struct why *why);
/* How much of all is done. */
void output_progress(struct output *o, uint64_t done, uint64_t all);

/* An account: <user/> as XML. */
void output_user(struct output *o, slice host, slice xml);
/* One that the server refuses, because of `why`. */
void output_refused(struct output *o, slice host, slice name, const char *why);

/* One more line of more.jsonl: "TYPE", its members, the end. */
void output_line(struct output *o, const char *type);
void output_put(struct output *o, const char *key, slice text);
void output_flag(struct output *o, const char *key, bool truth);
void output_list(struct output *o, const char *key, const struct text_list *list);
void output_end(struct output *o);

/* `count` things of this name are lost; first: of whom the first of them was. */
void output_lost(struct output *o, slice first, uint64_t count, const char *what, ...)
    __attribute__((format(printf, 4, 5)));

/* Whether it can be written as the name of an element or an attribute. */
bool is_xml_name(slice name);
/* Whether servers add such a child to a message that they keep (XEP-0359, XEP-0421, and what
 * ejabberd had before): it means nothing elsewhere, and is made anew here. */
bool is_added(slice name, slice ns);
/* XEP-0203: the stanza came at at_us, in microseconds since 1970; 0: nothing is written. from: who
 * says so; empty: nobody. */
void write_delay(struct xml_write *x, uint64_t at_us, slice from);
