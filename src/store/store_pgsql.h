/* store_pgsql: the PostgreSQL driver, inside. One writer thread commits groups of batches, reader
 * threads run reads, each on a connection of its own. Connections are in pipeline mode: a group is
 * sent as a whole and costs two round trips, its statements and COMMIT.
 *
 * A connection belongs to one thread, and never waits longer for the server than `until_us`. The
 * writer's holds an advisory lock, so that one database has one node. */
#pragma once
#include "store/queue.h"
#include <libpq-fe.h>

/* Of the advisory lock, in SQL. It is for the tables that are found first: two nodes may share a
 * database by schemas of their own. */
#define PG_LOCK_KEY "hashtextextended('muster:' || current_schema(), 0)"

enum {
    PG_READERS = 4, /* unless told otherwise */
    PG_READERS_MAX = 64,
    PG_VERSION_MIN = 140000,
    PG_CONNECT_S = 5,         /* a host; `connect_timeout` of the URL overrides it */
    PG_PATIENCE_US = 5000000, /* an answer is waited for as long, or until the deadlines are over */
    PG_GRACE_US = 1000000,    /* and that much longer, */
    PG_PATIENCE_MAX_US = 10000000, /* by the writer never longer than that */
    PG_CLOSING_US = 3000000,       /* the same when the store is closed: the process has to end */
    PG_RETRY_FIRST_MS = 100,       /* pause between two attempts to connect, doubled up to */
    PG_RETRY_MAX_MS = 2000,
    PG_LOCK_WAIT_MS = 3000, /* at open: the server may take a while to notice that a node died */
    PG_TRIES_MAX = 3,       /* of a group that the server asks to repeat */
    PG_LOOK_MS = 1000,      /* between two looks whether what was denied is allowed again */
    PG_SLOW_READ_MS = 100,
    PG_STACK_BYTES = 1 << 20,
};

/* Types, from pg_type.dat: they never change. */
enum {
    OID_BOOL = 16,
    OID_BYTEA = 17,
    OID_NAME = 19,
    OID_INT8 = 20,
    OID_INT2 = 21,
    OID_INT4 = 23,
    OID_TEXT = 25,
    OID_BPCHAR = 1042,
    OID_VARCHAR = 1043,
};

struct pg_db;

/* The outcome of a command. Unless it is PG_OK, the transaction is rolled back. */
enum pg_fault {
    PG_OK,
    PG_SKIPPED, /* one in front of it failed */
    PG_REFUSED, /* a constraint, a value, a row count: it is this batch's own fault */
    PG_DENIED,  /* a table, a column or a right that the statement needs is not there any more */
    PG_AGAIN,   /* a deadlock or the like: repeat the transaction */
    PG_FULL,    /* disk full */
    PG_BUSY,    /* somebody else has locked a table */
    PG_LATE,    /* past its deadline */
    PG_BROKEN,  /* the server has a problem of its own */
    PG_LOST,    /* no connection any more, or one to a server that may not be written to */
};

enum pg_role { PG_WRITES, PG_READS };

struct pg_conn {
    struct pg_db *db;
    enum pg_role role;
    PGconn *pq;          /* NULL: not connected */
    struct buf prepared; /* of struct pg_plan, sorted */
    struct buf asked;    /* those that are being prepared, in that order */
    uint64_t until_us;
    char state[6];  /* SQLSTATE of the last failure; "" */
    char text[320]; /* what was said of it */
    /* the same of a statement that did not prepare for the batches at hand; PG_OK: all did */
    enum pg_fault plan_fault;
    char plan_state[6], plan_text[320];
};

struct pg_reader {
    struct pg_conn conn;
    pthread_t thread;
    unsigned session;    /* of the writer, when this one connected */
    uint32_t timeout_ms; /* statement_timeout of the session */
};

struct pg_writer {
    struct pg_conn conn;
    struct group_queue in;
    pthread_t thread;
    const struct store_late *late; /* NULL: the store has none */
    int64_t commits;               /* number of the last one that was tried, which it notes */
    bool committing;               /* COMMIT was sent: what is lost now may have been kept */
    struct store_batch *doubt;     /* a group that may have been; its results are there */
    uint32_t doubt_count;
    bool has_savepoint;
    const struct store_stmt *denied; /* the last one (PG_DENIED); NULL: one of the driver's own */
    uint64_t look_us;                /* when to look at it again; UINT64_MAX: never */
    uint64_t retry_us;               /* when to connect again */
    uint32_t retry_ms;
};

struct pg_db {
    struct store *store;
    char *url;
    char name[200];      /* without what is secret: "muster on db1:5432" */
    atomic_bool down;    /* the writer has no connection: batches are refused at once */
    atomic_uint session; /* counts the writer's connections: it may be to another server now */
    int64_t opened;      /* how often the database was opened, this time too */
    bool threads;
    struct pg_writer writer;
    struct read_queue reads;
    struct pg_reader *readers;
    unsigned reader_count;
};

/* pgsql_url.c */
/* Checks the URL and makes a name of it that can be shown. E_SYNTAX; E_IO: without libpq.h's
 * library. */
NODISCARD enum err pg_url_name(const char *url, char *out, size_t cap, struct why *why);

/* pgsql_conn.c */
void pg_conn_init(struct pg_conn *c, struct pg_db *db, enum pg_role role);
void pg_conn_fini(struct pg_conn *c);
/* Connects to a server that can be written to and sets the session up; false: c->text. Takes up to
 * connect_timeout for each host. */
bool pg_connect(struct pg_conn *c);
void pg_disconnect(struct pg_conn *c);
/* Notes a failure on our side; returns it. */
enum pg_fault pg_fail(struct pg_conn *c, enum pg_fault fault, const char *text);
/* Sends; a failure shows in the results. */
void pg_send(struct pg_conn *c, const char *sql);
void pg_sync(struct pg_conn *c);
/* The next result, waited for; NULL: that was all of one command, or the connection is lost. */
PGresult *pg_next(struct pg_conn *c);
bool pg_is_lost(const struct pg_conn *c);
enum pg_fault pg_judge(struct pg_conn *c, const PGresult *res);
/* All results of a command without rows. */
enum pg_fault pg_end(struct pg_conn *c);
enum pg_fault pg_synced(struct pg_conn *c);
/* One command in a transaction of its own, with up to one text parameter. NULL: c->text. */
PGresult *pg_ask(struct pg_conn *c, const char *sql, const char *param);
PGresult *pg_ask_int(struct pg_conn *c, const char *sql, const char *decimal); /* of int8 */
/* Commands of one text by the simple protocol, for migrations. */
enum pg_fault pg_script(struct pg_conn *c, const char *sql);

/* pgsql_stmt.c: statements are prepared when a connection first needs them. */
struct pg_plan {
    uint32_t id;   /* of the statement */
    uint32_t last; /* its parameters that are SV_LAST: bit n - 1 for $n */
};
/* E_SYNTAX: a statement does not prepare, or is not as declared. */
NODISCARD enum err pg_check_all(struct pg_conn *c, struct why *why);
/* Prepares what the batches need and the connection has not. */
enum pg_fault pg_prepare(struct pg_conn *c, const struct store_batch *first);
/* Plans a statement without running it: PG_DENIED as if it ran. */
enum pg_fault pg_explain(struct pg_conn *c, const struct store_stmt *stmt);
enum pg_fault pg_prepare_plain(struct pg_conn *c, const struct store_stmt *stmt);
/* Sends a statement with the columns of a row, as text, behind the first. */
void pg_send_row(struct pg_conn *c, const struct store_stmt *stmt, const PGresult *res, int row);
/* Sends a part, without and with its late rows. */
void pg_send_part(struct pg_conn *c, const struct store_batch *b, const struct store_part *part);
void pg_send_late(struct pg_conn *c, const struct store_batch *b, const struct store_part *part);
bool pg_uses_last(const struct store_batch *b, const struct store_part *part);
/* Its results; rows of `part` go to the batch. */
enum pg_fault pg_end_part(struct pg_conn *c, struct store_batch *b, struct store_part *part);

/* pgsql_migrate.c: at open, on the writer's connection. */
NODISCARD enum err pg_migrate(struct pg_db *db, const struct store_conf *conf, struct why *why);
/* Late rows of the log above the position: from before there was an index, or restored. */
NODISCARD enum err pg_rebuild(struct pg_db *db, struct why *why);

/* pgsql_write.c */
/* Takes the lock of the database; PG_BUSY: another process has it. */
enum pg_fault pg_lock(struct pg_conn *c);
/* A number of the table `opened`, as `sql` gives it. */
enum pg_fault pg_ask_opened(struct pg_conn *c, const char *sql, int64_t *out);
void *pg_writer_main(void *writer);
/* Refuses what was submitted. Any thread. */
void pg_refuse(struct pg_db *db);
enum store_result pg_result(struct pg_conn *c, enum pg_fault fault); /* raises alarms */

/* pgsql_read.c */
void *pg_reader_main(void *reader);
