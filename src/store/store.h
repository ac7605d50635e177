/* store: asynchronous SQL storage (architecture §8). A feature declares statements and numbered
 * migrations as rows; a write is a value (an atomic batch of statements), never an interactive
 * transaction. SQL texts serve SQLite and PostgreSQL, together or each its own; drivers differ
 * behind `struct store_driver`. Texts are compared and sorted by their bytes.
 *
 * Batches are made and submitted on a loop's thread; `done` is called exactly once, on that loop,
 * never from inside store_submit(). Submitted writes are never taken back: cancelling removes the
 * callback. Writes commit in the order of submission within a lane (the owner's key); lanes share
 * commits, and one batch that fails harms no other. Every write is idempotent under its keys, so
 * that it can be replayed after STORE_UNKNOWN.
 *
 * Tables of the store itself, which features may read and write by their own statements:
 * schema(feature, version), reader(name, position) for whoever follows a log. */
#pragma once
#include "base/err.h"
#include "base/slice.h"

struct alarm;
struct buf;
struct log_area;
struct loop;
struct metric;
struct store;
struct store_batch;

enum {
    STORE_DEADLINE_MS = 5000, /* default of a batch (architecture §6) */
    /* Of what becomes of a message, which waits for the store's word far beyond the default. */
    STORE_COMMIT_MS = 600 * 1000,
    STORE_LOOPS_MAX = 256,             /* indexes of loops that submit */
    STORE_STMTS_MAX = 2048,            /* statements of all features */
    STORE_PARAMS_MAX = 32,             /* of one statement; also columns */
    STORE_PARTS_MAX = 4096,            /* statements of one batch */
    STORE_BATCH_BYTES_MAX = 16 << 20,  /* values of one batch; beyond: STORE_CONFLICT */
    STORE_RESULT_BYTES_MAX = 32 << 20, /* bytes one batch returns; beyond: STORE_CONFLICT */
    STORE_QUEUE_BYTES_MAX = 256 << 20, /* of all batches under way; beyond: STORE_DOWN */
    STORE_LONG_READS_MAX = 32,         /* of one user that wait; beyond: STORE_BUSY */
};

/* In the place of a deadline, of a write: its real result is told, however long that takes. So it
 * is for a change of what is in memory, too, which would else be another than what is stored. That
 * it is late raises the alarm, as with the default. Of a read: it waits as long as what was written
 * on its lane before, and only its own work has the default as its limit. So a change that looks
 * first ends as one that does not. */
#define STORE_UNTIL_DONE UINT32_MAX

enum store_result {
    STORE_OK,
    STORE_CONFLICT, /* a row count was not met, a constraint, a limit; nothing of the batch is there
                     */
    STORE_FULL,     /* disk or size limit; alarm store.full is raised until a write works again */
    STORE_DOWN,     /* the database cannot be used: closed, read-only, corrupt, unreachable */
    STORE_UNKNOWN,  /* the deadline passed, or the store was closed before it could tell: replay */
    STORE_BUSY      /* too many long reads of this user wait */
};
const char *store_result_name(enum store_result r);
enum err err_of_store(enum store_result r); /* what it means to who asked for the batch */

/* A statement, `$1…$n` parameters. Letters: i int64, t text, b blob; upper case: NULL is possible.
 */
struct store_stmt {
    const char *name; /* "roster.put": unique */
    const char *sql;  /* both drivers; if NULL: sqlite/pgsql below */
    const char *sqlite, *pgsql;
    const char *params; /* "itb" */
    const char *cols;   /* of the result, "" for none */
    uint32_t id;        /* set by store_open() */
};

/* Migrations of a feature, applied in order in one transaction each; recorded in schema(feature,
 * version). A database with a newer version than we know is refused at open. */
struct store_migration {
    uint32_t version; /* 1, 2, 3 … */
    const char *sqlite, *pgsql;
};

/* Late rows (architecture §7): rows of a narrow, random-access index that can be rebuilt from a log
 * written in the same transaction. They are held in memory by the writer (at most two runs),
 * inserted sorted by their first two parameters in small steps between commits, and the position
 * reached in the log is committed with them. At open, `rebuild` yields the rows of log ids above
 * that position. PostgreSQL has no late rows: they are inserted with their batch, and the position
 * with them. */
struct store_late {
    const char *name;          /* reader(name, position) */
    struct store_stmt *insert; /* ON CONFLICT DO NOTHING; all i; first two params: owner, id */
    /* SELECT log id, then the insert's params, … WHERE log id > $1 ORDER BY log id */
    const char *rebuild;
    uint32_t run_rows; /* 65,536; 0: nothing is late, rows are inserted with their batch */
};

/* A column where a feature keeps addresses, so that an account or a domain can be renamed: see
 * store/store_rename.h. Of what refers to an account by its id nothing needs to be said. */
struct store_address {
    const char *table, *column;
    enum store_address_kind {
        STORE_JID,       /* one bare or full JID, or a domain */
        STORE_JID_LIST,  /* several, with `separator` between them, and maybe at the end: a set */
        STORE_START_TAG, /* a stanza as stanza_store() writes it: its from and to */
        STORE_MARK,   /* such a stanza: what its sender, a room, wrote its address into; its row is
                         before the one of the start tag */
        STORE_NUMBER, /* an integer that `number` makes of a domain of ours */
        STORE_SEALED, /* a text with a secret, sealed in `context`; its row is before the one of
                         the address */
        STORE_WRITTEN /* a text of an operator, which stays; `beside` has its name */
    } kind;
    char separator;
    const char *beside; /* of a JID: the column and these, "a b", are a key or a set; "": it alone;
                           NULL: in none. Of a list: the one that must not have the same address. Of
                           a sealed text: the one with the address */
    const char *own;    /* the column with the id of an account that is not in this one itself */
    const char *only;   /* rows that have one: a condition; NULL: all */
    const char *after;  /* a statement that runs next, for both databases; NULL: none. $1 is the old
                           address of the account or the old domain, $2 the new one */
    const char *last;   /* another one behind that; NULL: none */
    bool there;         /* what is at this address: it may not be there at the new one, too */
    bool below;         /* it is a domain of ours, which is renamed with the one that it is below */
    bool not_alone;     /* it is renamed with a domain, but not with one account */
    const char *mark;   /* what is in front of the address there, in SQL's quotes */
    unsigned behind;    /* the characters behind it; 0: unknown, it is the first of its kind */
    int64_t (*number)(slice domain);
    const char *context; /* in SQL, with ? for the address */
    /* Appends the text with its secret sealed in another context. false: it cannot be opened. */
    bool (*reseal)(struct buf *out, slice text, slice was, slice is, struct arena *tmp);
    /* Of stanzas: writes a statement that runs before those of a condition become so much longer;
     * NULL: none. */
    void (*resize)(struct buf *sql, const char *rows, int64_t bytes);
};

/* An index of the words of the log (FTS5), which a reader of the log makes. If it is damaged, it is
 * dropped and made anew by `create`, and the reader begins anew; else such a database would have to
 * be given up. `emptied` is called, on any thread, also from store_open(): it is, or
 * will be before the next write. SQLite only. */
struct store_index {
    const char *table, *reader, *create;
    void (*emptied)(void);
};

/* What one feature gives to the store. */
struct store_schema {
    const char *feature;
    const struct store_migration *migrations; /* ended by { 0 }; NULL: none */
    struct store_stmt *const *stmts;          /* NULL-terminated; NULL: none */
    const struct store_late *late;         /* NULL: none; at most one feature of a store has it */
    const struct store_index *index;       /* likewise */
    const struct store_address *addresses; /* ended by { 0 }; NULL: none */
};

struct store_conf {
    const char *url; /* "sqlite:/path/muster.db", or "postgresql://…" as libpq takes it */
    const struct store_schema *const *schemas; /* NULL-terminated; all of it outlives the store */
    unsigned readers;                          /* reader threads; 0: 1, on PostgreSQL 4 */
};

/* Opens, checks integrity after an unclean end, migrates, rebuilds late rows, starts the threads.
 * Every statement is prepared once, on SQLite only if statements or tables have changed since that
 * was done. E_CORRUPT, E_IO, E_EXISTS (used by another process), E_UNSUPPORTED (newer schema, not
 * our database), E_SYNTAX (a statement does not prepare): `why` names the file and what to do.
 *
 * SQLite: after an unclean end a file of up to 64 MiB is checked (quick_check) before it is used. A
 * larger one is checked in the background, all of it, table by table; store_info() says how far it
 * is. If damage is found then, alarm store.down is raised and writes end with STORE_DOWN. A check
 * that the end of the server cuts short is done again at the next start.
 *
 * PostgreSQL: all hosts of the URL are tried, each for connect_timeout (5 s). When the connection
 * is lost later, alarm store.down is raised and batches end with STORE_DOWN at once until there is
 * one again, which is tried in the background. The node has an advisory lock. Texts with a NUL or
 * that are not UTF-8 end with STORE_CONFLICT. Not UTF8, or not sorted by bytes: E_UNSUPPORTED.
 * `why` never has the password. */
NODISCARD enum err store_open(struct store **out, const struct store_conf *conf, struct why *why);
/* Commits what was submitted (and late rows), checkpoints, joins the threads. Loops that submitted
 * have stopped, but are not destroyed before this; completions that they did not take are dropped.
 */
void store_close(struct store **store);

/* Whether statements have their text for PostgreSQL, whose full text takes words otherwise than
 * SQLite's: see words.h. */
bool store_is_pgsql(const struct store *store);

/* For an operator. Any thread. */
struct store_info {
    char database[256]; /* "sqlite:/path", or "postgresql: NAME on HOST:PORT", never a password */
    int check_percent;  /* how far the integrity check is; -1: none is under way */
    bool silent;        /* a batch had no answer in time; why is not known yet */
};
void store_info(const struct store *store, struct store_info *out);

/* Long operations call it between steps: it says whether to continue. */
struct store_watch {
    bool (*go_on)(void *arg, int percent); /* false: it is given up, E_CANCELED */
    void *arg;
};
/* Copies what is committed now, one snapshot, to a new file of mode 0600, and checks it. Batches
 * are not held up; the WAL grows meanwhile by what they write. Any thread but a loop's. E_EXISTS,
 * E_FULL, E_IO, E_CORRUPT; E_UNSUPPORTED: PostgreSQL. Nothing is left then. The copy is not synced.
 */
NODISCARD enum err store_backup(struct store *store, const char *path,
                                const struct store_watch *watch, struct why *why);
/* Whether a file that nobody uses is a database of ours, whole, and not of a newer schema. */
NODISCARD enum err store_verify(const char *path, const struct store_schema *const *schemas,
                                const struct store_watch *watch, struct why *why);
/* Whether a file is a database of ours, and as whole as can be read while `watch` lets it go on
 * (else E_CANCELED). A server may use it, also this process, whose locks stay: no descriptor of the
 * file may be closed but by SQLite. It is not changed. E_CORRUPT, E_UNSUPPORTED (of another
 * program), E_IO (it could not be looked at). What begins to use it meanwhile is no damage. Waits
 * for the disk. */
enum store_use { STORE_UNUSED, STORE_IN_USE };
NODISCARD enum err store_look(const char *path, enum store_use use, const struct store_watch *watch,
                              struct why *why);

/* Whether a database of PostgreSQL takes us in, so that it can be written; `name` is the one of
 * store_info(). E_SYNTAX: its URL, which then has no name; E_DOWN: `why`, without a password. Takes
 * up to connect_timeout (5 s) for each host. */
NODISCARD enum err store_reach(const char *url, char *name, size_t cap, struct why *why);

/* How many rows a table has, of a file that nobody uses. */
NODISCARD enum err store_file_rows(const char *path, const char *table, int64_t *out);
/* Copies all data from a file of SQLite to a database of PostgreSQL without accounts, in one
 * transaction, and counts the rows. Both were opened and closed by a store before, and nobody uses
 * them. E_EXISTS: it has data; E_IO, E_CORRUPT, E_UNSUPPORTED: nothing has changed. Tools. */
struct store_copied {
    uint64_t tables, rows;
};
NODISCARD enum err store_copy(const char *path, const char *url, struct store_copied *out,
                              struct why *why);

struct store_val {
    enum { STORE_NULL, STORE_INT, STORE_TEXT, STORE_BLOB, STORE_LAST } type;
    int64_t num;
    slice bytes;
};
#define SV_I(n) ((struct store_val){ STORE_INT, (int64_t)(n), { 0 } })
#define SV_T(s) ((struct store_val){ STORE_TEXT, 0, (s) })
#define SV_B(s) ((struct store_val){ STORE_BLOB, 0, (s) })
#define SV_NULL ((struct store_val){ STORE_NULL, 0, { 0 } })
/* The id given by the last INSERT in front of it in this batch: SQLite's rowid, PostgreSQL's
 * lastval(), so that INSERT has to let the database choose the id and to insert a row. In between,
 * do not insert into another table that generates ids: PostgreSQL could take that id. None:
 * STORE_CONFLICT. */
#define SV_LAST ((struct store_val){ STORE_LAST, 0, { 0 } })

enum { STORE_ANY_ROWS = -1 };

/* A batch of writes. `lane` orders it among others of one owner (hash of its bare JID, or id). */
struct store_batch *store_write(struct store *store, uint64_t lane);
/* A batch of reads, one snapshot. lane 0: what is committed now; else it waits for the writes
 * submitted before it on that lane. Read in pages: a read of more than 100 ms is logged, as it
 * delays the checkpoint of SQLite; one that has passed its deadline is interrupted. */
struct store_batch *store_read(struct store *store, uint64_t lane);
/* On whose behalf a read without a lane is: it takes turns with those of other users, as reads of
 * different lanes do. Without this it is the server's own, which waits for no turn. */
void store_read_turn(struct store_batch *b, uint64_t user);
/* A read that may take long, such as a search: it waits in a line of its own, where users take
 * turns, and runs beside the short ones, so it holds up neither them nor the first long read of
 * another user. It is given up (STORE_DOWN) when it has run for run_ms. user: on whose behalf. */
void store_read_long(struct store_batch *b, uint64_t user, uint32_t run_ms);
/* The batch, read or write, sees the late rows of this owner (first late parameter), or those of
 * STORE_ALL_OWNERS, which may take a while. One owner a batch. */
enum { STORE_ALL_OWNERS = 0 };
void store_read_late(struct store_batch *b, int64_t owner);
/* Appends a statement; values are copied. `rows`: how many rows a write must change, or
 * STORE_ANY_ROWS. */
void store_add(struct store_batch *b, const struct store_stmt *stmt, int rows,
               const struct store_val *vals, unsigned count);
#define STORE_ADD(b, stmt, rows, ...)                                                              \
    store_add(                                                                                     \
        (b), (stmt), (rows), (const struct store_val[]){ __VA_ARGS__ },                            \
        (unsigned)(sizeof((const struct store_val[]){ __VA_ARGS__ }) / sizeof(struct store_val)))
/* Adds a row to the late index in the same transaction as this batch (only in writes), behind the
 * log's INSERT; the id that it got is SV_LAST and the row's place in the log. */
void store_add_late(struct store_batch *b, const struct store_val *vals, unsigned count);
#define STORE_ADD_LATE(b, ...)                                                                     \
    store_add_late(                                                                                \
        (b), (const struct store_val[]){ __VA_ARGS__ },                                            \
        (unsigned)(sizeof((const struct store_val[]){ __VA_ARGS__ }) / sizeof(struct store_val)))

/* `b` is NULL unless the result is STORE_OK; the functions below then see no rows. */
typedef void store_done_fn(void *arg, enum store_result result, const struct store_batch *b);

struct store_op; /* a submitted batch, until its done() */
/* The batch belongs to the store from here. deadline_ms 0: the default. When it has passed, a write
 * is STORE_UNKNOWN and a read STORE_DOWN, but for STORE_UNTIL_DONE. `done` may be NULL. On the
 * loop's thread. */
struct store_op *store_submit(struct store_batch *b, struct loop *loop, uint32_t deadline_ms,
                              store_done_fn *done, void *arg);
void store_cancel(struct store_op **op); /* no callback will come; on the submitting loop; nulls */
/* Whether a done() is still to come, of any loop. Any thread; an orderly end waits for it. */
bool store_busy(const struct store *store);
/* Whether a write has not been done within its deadline, and still is not. Any thread. */
bool store_stands(const struct store *store);
/* The same as store_busy() of a database on this machine that is not known to be away: what is not
 * done may still be committed, when the disk works. */
bool store_may_commit(const struct store *store);
void store_drop(struct store_batch **b); /* a batch that is not submitted after all; NULL is fine */

/* Results, valid inside done(): statement i of the batch, row r, column c. */
const struct store *store_of(const struct store_batch *b);
unsigned store_stmt_count(const struct store_batch *b); /* added so far: the index of the next */
uint32_t store_row_count(const struct store_batch *b, unsigned stmt);
/* How many rows to ask for when so many were more than STORE_RESULT_BYTES_MAX: one at least. */
static inline uint32_t store_fewer(uint32_t rows) { return rows > 8 ? rows / 8 : 1; }
int64_t store_int(const struct store_batch *b, unsigned stmt, uint32_t row, unsigned col);
slice store_text(const struct store_batch *b, unsigned stmt, uint32_t row,
                 unsigned col);                                    /* NULL: ptr NULL */
size_t store_result_bytes(const struct store_batch *b);            /* of all texts and blobs */
int64_t store_changed(const struct store_batch *b, unsigned stmt); /* rows a write changed */

/* Synchronous form for start-up, tools and tests, not on a loop: the same batches, waited for as
 * long as it takes; `done` is called before it returns. */
enum store_result store_run(struct store_batch *b, store_done_fn *done, void *arg);

extern struct log_area log_store;
extern struct alarm store_full_alarm, store_down_alarm, store_refused_alarm, store_slow_alarm;
extern struct metric *const store_metrics[]; /* NULL-terminated, for metric_register() */
