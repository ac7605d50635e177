/* store_sqlite: the SQLite driver, inside. One writer thread commits groups of batches, reader
 * threads run reads on connections of their own, a keeper thread moves the WAL into the database.
 *
 * A connection belongs to one thread (SQLITE_CONFIG_MULTITHREAD). Pages are read by pread(2), not
 * mmap(2): an I/O error must be a result, not a SIGBUS. */
#pragma once
#include "store/late.h"
#include "store/queue.h"
#include <sqlite3.h>

enum {
    SQLITE_IDLE_MS = 2000, /* then late rows are flushed, caches and the WAL shrink */
    SQLITE_READERS_MAX = 64,
    SQLITE_WRITER_CACHE_KIB = 16384, /* grows by use */
    SQLITE_READER_CACHE_KIB = 4096,
    SQLITE_WAL_PAGES = 2048,           /* of 8 KiB: a checkpoint is due */
    SQLITE_CHECK_BYTES_MAX = 64 << 20, /* larger files are checked in the background */
    SQLITE_RETRY_MS = 1000,            /* of what a full disk has stopped */
    SQLITE_LOOK_MS = 1000,             /* between two looks whether a statement prepares again */
    SQLITE_SLOW_READ_MS = 100,
    SQLITE_STACK_BYTES = 256 << 10,
};

#define SQLITE_APPLICATION_ID 0x4d757374 /* "Must", in the header: file(1) shows it */

struct sqlite_db;

/* A statement, as its text shows it. */
struct sqlite_info {
    uint8_t slot[STORE_PARAMS_MAX]; /* of $1, $2 … among SQLite's parameters */
};

struct sqlite_conn {
    struct sqlite_db *owner;
    sqlite3 *db;
    sqlite3_stmt **stmts; /* by id, prepared at first use: an unused one costs no memory */
    char fault_text[96];  /* of the last failure that was noted */
};

struct sqlite_reader {
    struct sqlite_conn conn; /* not open yet, for long reads */
    pthread_t thread;
    unsigned takes;       /* enum read_takes */
    uint64_t deadline_us; /* of the batch that runs */
    uint64_t looked_us;   /* the last look at the clock while it runs */
};

struct group_row { /* inserted, and marked so, by the group under way: its end may be a rollback */
    struct late_set *set;
    uint32_t row;
};

/* Late rows: one set gathers while the other, sorted, is inserted step by step. */
struct sqlite_late {
    struct sqlite_conn *conn;        /* the writer's */
    sqlite3_stmt *insert, *position; /* NULL: the store has none */
    const uint8_t *slot;             /* of the insert's parameters */
    uint32_t width, run_rows;
    struct late_set gather, run;
    bool flushing;            /* `run` is being inserted */
    bool finishing;           /* this group wrote the position: `run` ends with its commit */
    uint32_t at, step_end;    /* place in run.order; where the step of this group ends */
    uint64_t paused_until_us; /* after a failure */
    struct buf in_group;      /* of struct group_row */
};

struct sqlite_writer {
    struct sqlite_conn conn;
    sqlite3_stmt *begin, *commit, *rollback, *savepoint, *release, *rollback_to;
    struct sqlite_late late;
    pthread_t thread;

    struct group_queue in;
    _Atomic int wal_pages; /* after the last commit */
    int wal_pages_asked;   /* when the keeper was asked for a checkpoint */
    bool trimmed;          /* what idleness allows has been done */
    const struct store_stmt
        *denied;      /* while the alarm is active: the last whose table has changed */
    uint64_t look_us; /* when to look at it again */
};

struct sqlite_keeper {
    struct sqlite_conn conn;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool wanted; /* guarded by lock */
    atomic_bool stop;
    atomic_bool done;   /* most of the WAL is copied: the writer ends it between two commits */
    atomic_bool failed; /* the last checkpoint: alarms stay */
};

/* The integrity check of a large file after an unclean end, on a thread of its own. */
struct sqlite_checker {
    struct sqlite_conn conn;
    pthread_t thread;
    bool wanted;
    uint64_t reads, pages, report_us; /* of the thread */
    _Atomic int percent;              /* -1: not under way */
    atomic_bool stop, whole;          /* all of it was checked, and is fine */
};

struct sqlite_db {
    struct store *store;
    char *path;
    int file;                  /* holds the lock that keeps other servers away */
    struct sqlite_info *info;  /* by statement id */
    atomic_bool corrupt;       /* latched: nothing is written any more */
    atomic_bool index_damaged; /* a read has found it so */
    _Atomic uint64_t made_us;  /* the index anew, monotonic; 0: it was not */
    bool threads;
    struct sqlite_writer writer;
    struct sqlite_keeper keeper;
    struct sqlite_checker checker;
    struct read_queue reads;
    struct sqlite_reader *readers;
    unsigned reader_count;
};

/* store_sqlite.c */
void sqlite_configure(void); /* before anything else of SQLite; again: fine */
/* The integer that a query gives, with text as its parameter unless that is NULL; without a row
 * *out stays. SQLITE_OK or an error. */
int sqlite_get_int(struct sqlite_conn *c, const char *sql, const char *text, int64_t *out);
NODISCARD enum err store_sqlite_explain(const struct sqlite_db *db, int rc, struct why *why);

/* sqlite_learn.c */
/* Fills info of all statements, and sees that each of them prepares, unless these very statements
 * did so before on tables that are as they were. E_SYNTAX and why: one does not. */
NODISCARD enum err sqlite_learn(struct sqlite_db *db, struct why *why);

/* sqlite_vfs.c */
#define SQLITE_VFS_NAME "muster"
void sqlite_vfs_register(void); /* once a process */
/* Calls fn with each read of this thread; NULL: no longer. */
void sqlite_vfs_watch(void (*fn)(void *arg), void *arg);

/* sqlite_conn.c */
enum sqlite_role { SQLITE_WRITES, SQLITE_READS, SQLITE_KEEPS };
NODISCARD int sqlite_conn_open(struct sqlite_conn *c, struct sqlite_db *db, enum sqlite_role role);
void sqlite_conn_close(struct sqlite_conn *c);
const char *sqlite_conn_text_of(const struct store_stmt *stmt); /* NULL: none for SQLite */
NODISCARD int sqlite_prepare(struct sqlite_conn *c, const char *sql, sqlite3_stmt **out);
sqlite3_stmt *sqlite_conn_stmt(struct sqlite_conn *c,
                               const struct store_stmt *stmt);              /* NULL: error */
bool sqlite_prepares(struct sqlite_conn *c, const struct store_stmt *stmt); /* as it did at open */
int sqlite_step(sqlite3_stmt *stmt); /* to the end, without rows; resets; SQLITE_OK or an error */
/* Runs a part and fills its results. SQLITE_OK, or SQLite's extended code. */
int sqlite_run_part(struct sqlite_conn *c, struct store_batch *b, struct store_part *part);
/* Keeps what SQLite says of a failure, before a rollback makes it forget. Returns rc. */
int sqlite_note_fault(struct sqlite_conn *c, int rc);
/* Translates a recorded failure, and raises or clears the alarms. */
enum store_result sqlite_failed(struct sqlite_conn *c, int rc);
/* The same of a statement that does not prepare any more. */
enum store_result sqlite_denied(struct sqlite_conn *c, int rc);
void sqlite_worked(struct sqlite_db *db);

/* sqlite_late.c */
NODISCARD int sqlite_late_open(struct sqlite_db *db);
NODISCARD int sqlite_late_rebuild(struct sqlite_db *db); /* from the log, above the position */
void sqlite_late_close(struct sqlite_late *l);
int sqlite_late_take(struct sqlite_late *l, struct store_batch *b, const struct store_part *part);
int sqlite_late_owner(struct sqlite_late *l, int64_t owner); /* inserts its rows */
/* Inserts the next rows of the run: at least `rows`. Position included when it ends. */
int sqlite_late_step(struct sqlite_late *l, uint32_t rows);
void sqlite_late_commit(struct sqlite_late *l);
void sqlite_late_rollback(struct sqlite_late *l, struct late_mark mark);
/* Begins to insert what has gathered, if the last run is done. */
void sqlite_late_flush(struct sqlite_late *l);
uint32_t sqlite_late_pending(const struct sqlite_late *l);

/* sqlite_write.c */
NODISCARD int sqlite_writer_open(struct sqlite_writer *w);
void *sqlite_writer_main(void *db);
void sqlite_writer_stop(struct sqlite_writer *w); /* ends what was submitted, joins */
void sqlite_writer_close(struct sqlite_writer *w);
/* Commits late rows of a run outside of the loop: at open and close. SQLite's code. */
void sqlite_writer_hurry(struct sqlite_writer *w); /* the end: what is away is not waited for */
NODISCARD int sqlite_writer_flush(struct sqlite_writer *w);

/* sqlite_read.c */
void *sqlite_reader_main(void *reader);
void sqlite_reads_stop(struct sqlite_db *db); /* ends what was submitted, joins */

/* sqlite_keep.c */
void sqlite_keeper_ask(struct sqlite_keeper *k); /* a checkpoint, soon */
void *sqlite_keeper_main(void *db);
void sqlite_keeper_stop(struct sqlite_keeper *k);

/* sqlite_check.c */
NODISCARD enum err sqlite_check(struct sqlite_conn *c, struct why *why); /* E_CORRUPT: what it is */
void *sqlite_checker_main(void *db);
bool sqlite_checker_stop(struct sqlite_checker *c); /* false: some of it was not checked */

/* sqlite_backup.c */
NODISCARD enum err sqlite_backup(struct store *store, const char *path,
                                 const struct store_watch *watch, struct why *why);
