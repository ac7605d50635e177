/* ejabberd_rows: rows of a dump of ejabberd's Mnesia database, as `ejabberdctl dump` writes it: a
 * text file of Erlang terms (convert/erlang.h), one for each row. The dump is read once to find out
 * whose rows are where, and then row by row, so it may be larger than memory. Rows that nobody has
 * read in the end are counted as lost by their table.
 *
 * Limits: EJABBERD_TERM_MAX bytes of a row, EJABBERD_ROWS_MAX rows of tables that are known. */
#pragma once
#include "base/buf.h"
#include "base/map.h"
#include "convert/erlang.h"
#include "convert/output.h"

enum { EJABBERD_TERM_MAX = 32 << 20, EJABBERD_ROWS_MAX = 10000000 };

enum ejabberd_table {
    EJABBERD_PASSWORD,
    EJABBERD_CONTACT,
    EJABBERD_VCARD,
    EJABBERD_PRIVATE,
    EJABBERD_PRIVACY,
    EJABBERD_OFFLINE,
    EJABBERD_NODE,
    EJABBERD_ITEM, /* owned by the number of its node */
    EJABBERD_ARCHIVED,
    EJABBERD_ROOM,
    EJABBERD_GROUP,
    EJABBERD_MEMBER, /* owned by the group */
    EJABBERD_TABLES
};

struct ejabberd_row {
    struct ejabberd_row *next; /* of the same owner, in the order of the file */
    uint64_t at, when_us;      /* in the file; when_us: of EJABBERD_ARCHIVED */
    uint32_t bytes;
    enum ejabberd_table table;
    bool read;
};

/* An account, a room, a node or a group: who has rows. */
struct ejabberd_owner {
    slice key; /* NAME@HOST as written, of a group behind a \n, or the number of the node; first */
    struct ejabberd_owner *next;
    slice name, host;
    struct ejabberd_row *first, **last;
    unsigned tables; /* bits */
};

extern const char *const ejabberd_table_names[EJABBERD_TABLES];

struct ejabberd_owners {
    struct ejabberd_owner *first, **last;
};
struct ejabberd_dump {
    int fd;
    uint64_t rows, given, all; /* all: users and rooms */
    struct output *output;
    struct arena *arena;
    struct map owners;
    struct ejabberd_owners users, rooms, groups;
};

/* Reads rows of a user, a room or a group. */
struct ejabberd_reader {
    struct ejabberd_dump *dump;
    struct arena *tmp;         /* as long as the user or the room */
    enum ejabberd_table table; /* of the row */
    slice who;                 /* whose row it is */
    struct why why;            /* text empty: nothing was wrong */
};

typedef void ejabberd_fn(void *arg, const struct erlang_term *row);
/* Each row of a table that the owner has, which is forgotten behind fn. Archives come by their
 * times. owner NULL: none. */
void ejabberd_each(struct ejabberd_reader *r, const struct ejabberd_owner *owner,
                   enum ejabberd_table table, ejabberd_fn *fn, void *arg);
/* The owner with that key; NULL: there is none. */
const struct ejabberd_owner *ejabberd_owner(const struct ejabberd_reader *r, slice key);

/* Something of the row that is read is lost. */
void ejabberd_lost(const struct ejabberd_reader *r, const char *what);
/* Each text of a list; others are lost under this name. */
#define EJABBERD_TEXTS_EACH(r, t, list, name)                                                      \
    for (const struct erlang_term *t = erlang_at(list, 0); t != NULL; t = t->next)                 \
        if (t->type != ERLANG_TEXT)                                                                \
            ejabberd_lost(r, name);                                                                \
        else

/* Appends an element of its terms: {xmlel, NAME, [{NAME, VALUE}], CHILDREN}, or xmlelement, as
 * versions before 3 wrote it. ns: where it says none; NULL: that of the element around it. `more`
 * stands behind its children; skip: children that are left out, or NULL. */
typedef bool ejabberd_skip(const struct erlang_term *child);
void ejabberd_element(const struct ejabberd_reader *r, struct buf *out, const struct erlang_term *e,
                      const char *ns, slice more, ejabberd_skip *skip);
/* The server has added it to a stanza that it kept: it means nothing elsewhere. */
bool ejabberd_is_added(const struct erlang_term *child);
slice ejabberd_attr(const struct erlang_term *e, const char *name); /* empty: it has none */
/* {user, host, resource} as an address, in the arena. */
slice ejabberd_jid(const struct erlang_term *t, struct arena *tmp);
/* {megaseconds, seconds, microseconds} since 1970, in microseconds; 0: it is none. */
uint64_t ejabberd_time_us(const struct erlang_term *t);

/* The account as a <user/>; a room; a group with its members. */
void ejabberd_user(struct ejabberd_reader *r, const struct ejabberd_owner *owner);
void ejabberd_room(struct ejabberd_reader *r, const struct ejabberd_owner *owner);
void ejabberd_group(struct ejabberd_reader *r, const struct ejabberd_owner *owner);
