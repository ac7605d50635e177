/* command: the commands of operators, as static rows. The control socket, `musterctl` (help,
 * completion, argument parsing), docs/commands.md and the ad-hoc commands of XMPP clients are all
 * made from them.
 *
 * A call runs on the loop of a worker and may end after run() has returned, with exactly one
 * command_done() or command_fail(). Results are rows of named fields. */
#pragma once
#include "base/param.h"
#include "base/principal.h"

enum command_arg_kind {
    ARG_POSITIONAL, /* required, in order */
    ARG_OPTIONAL,   /* positional, may be missing; after the required ones */
    ARG_OPTION,     /* --name VALUE */
    ARG_FLAG,       /* --name */
    ARG_SECRET,     /* --name VALUE; musterctl also takes --stdin or prompts; never logged */
    ARG_SECRET_MADE /* the same, but the server makes one if it is missing or empty */
};

/* Arguments and columns have names of small letters, digits and underscores, which are those of
 * members and parameters of JSON and of the API, too. */
/* The end of a sentence about an option of `empties`. Forms say it in another way. */
#define COMMAND_EMPTY_REMOVES "; \"\" removes it"

struct command_arg {
    enum command_arg_kind kind; /* a flag is a PARAM_BOOL, a secret a PARAM_SECRET */
    bool unserved; /* of PARAM_USER, PARAM_HOME_DOMAIN: also of a domain that is not served */
    bool unmade;   /* of ARG_SECRET_MADE: the server makes none, and says itself if it needs one */
    /* A value for examples. Examples have an argument with one also where it may be left out: the
     * command needs it, or one of several. NULL: its type has examples enough. */
    const char *example;
    /* What logs have of its value, which may have a key in it; NULL: the value. In the arena. */
    slice (*noted)(struct arena *arena, slice value);
    union {
        struct param param;
        struct {
            PARAM_MEMBERS; /* "jid" */
        };
    };
};

/* The same name with hyphens, as options of the command line have it, and fields of XEPs. */
enum { COMMAND_NAME_MAX = 31 };
struct command_hyphened {
    char text[COMMAND_NAME_MAX + 1];
};
struct command_hyphened command_hyphened(const char *name);

/* A password, a token or a code, also one that is typed as a word: no log has it. */
static inline bool command_arg_is_secret(const struct command_arg *a)
{
    return a->type == PARAM_SECRET;
}

/* Of a kind that is for secrets: musterctl asks for it. */
static inline bool command_arg_is_of_secrets(const struct command_arg *a)
{
    return a->kind == ARG_SECRET || a->kind == ARG_SECRET_MADE;
}
/* musterctl reads it from standard input with --stdin: it may be what no list of processes should
 * show. */
static inline bool command_arg_may_be_piped(const struct command_arg *a)
{
    return command_arg_is_of_secrets(a) || a->refers == REFERS_SETTING_VALUE;
}

struct command_call;
struct setting;
struct log_area;

/* What users are told: such an argument is called `text`. The log has its length instead. */
static inline bool command_arg_is_message(const struct command_arg *a)
{
    return strcmp(a->name, "text") == 0;
}

enum command_access {
    COMMAND_ADMIN, /* operators, and administrators from their clients */
    COMMAND_OWN,   /* also any user from a client, for their own account: `jid` is then the user */
    COMMAND_LOCAL  /* only operators at the control socket: it uses files of the host, or shows what
                    * nobody may read from a client */
};

/* Where it runs: home/command_run.h. */
enum command_place {
    COMMAND_HERE, /* anywhere */
    COMMAND_EACH, /* on every worker of every node; then `gathered` where it began */
    COMMAND_DUTY  /* at the home of `duty` */
};

enum command_effect {
    COMMAND_UNSAID, /* which no row may have */
    COMMAND_READS,  /* nothing that is stored changes; it is logged at LOG_DEBUG */
    COMMAND_CHANGES
};

/* A field of a row of the result. A number may be one of the words in `choices` instead. */
struct command_column {
    bool optional;     /* not in every row */
    bool wide;         /* not in tables, which it would make too wide */
    bool apart;        /* of a node: not in tables where there is one node */
    bool moves;        /* it changes by itself: in a thing that is sent back it is not compared */
    bool exact;        /* a time that is compared with others: tables have it with milliseconds */
    const char *title; /* for a person, in place of its name; NULL: that */
    union {
        struct param param;
        struct {
            PARAM_MEMBERS;
        };
    };
};

struct command {
    const char *name;               /* "user add": one or two words */
    const struct command_arg *args; /* ended by { 0 } */
    void (*run)(struct command_call *call);
    enum command_place runs_at;
    int duty; /* enum duty of home/duty.h */
    /* The argument, an address, at whose home it runs; where it is not given, `runs_at` says where.
     * NULL: none. */
    const char *home;
    /* COMMAND_EACH: run() makes rows of `parts` (NULL: of `columns`) on each worker, at once, and
     * does not end the call. gathered() finds the rows of all workers in the call, in no order. It
     * takes out (command_take_rows()) those that are not for the answer before it adds others. */
    void (*gathered)(struct command_call *call);
    const struct command_column *parts;
    const char *doc;     /* its first clause is at most COMMAND_BRIEF_MAX bytes: command_brief() */
    const char *asks;    /* what musterctl says before "Go on?"; NULL: it does not ask */
    const char *asks_if; /* a flag without which it does not ask; NULL: it does in any case */
    /* The command that shows what goes with the thing that this one destroys, by the argument
     * `home`: shown before the question; NULL: none. */
    const char *loses;
    bool job; /* long work, which tells how far it is: ops/jobs.h. musterctl shows that on a
               * terminal while it waits */
    enum command_effect effect;
    const char *area; /* "users": what it is about; with its effect the name of a permission */
    /* musterctl runs it itself while no server runs; what can only be done then has one argument, a
     * path, and its run() says what to do first. */
    bool offline;
    /* The kind of source in its first argument, "prosody": musterctl gives that to muster-convert,
     * and the server reads what that makes of it. NULL: the server reads it. */
    const char *converts;
    enum command_access access;
    /* COMMAND_OWN: a switch that must be on for users who are not administrators; NULL: always
     * on. */
    const struct setting *own_if;
    /* The setting that names a folder of the host: a path that does not come by the control socket
     * must be a name in that folder. NULL: it must not be there at all (COMMAND_LOCAL). */
    const struct setting *inside;
    /* Where a XEP defines it as an ad-hoc command: its node, and the FORM_TYPE of its one row. */
    const char *node, *form_type;
    /* What it does as resources of the API, "GET /users/{jid}", separated by commas: the parts of
     * the path in braces are arguments. The paths of two commands never differ in the names of
     * arguments alone. NULL: it is there under its name only. admin/api/api.h. */
    const char *rest;
    const struct command_column *columns; /* of its rows, in order, ended by { 0 }; NULL: no rows */
    bool audited;                         /* although it only reads */
    /* It shows what is nobody's business without a reason: who is not at the control socket states
     * one, in its argument `reason`, and it is audited. */
    bool reasoned;
    /* Another permission that it needs: "rooms.write". NULL: none. */
    const char *also_permission;
    /* Its rows have one column, and are the lines of a file whose name ends so: "jsonl". A client
     * saves them, of all pages. NULL: they are no file. */
    const char *file;
    bool empties;         /* an option that is empty removes what is there: a form asks for these by
                           * name, since clients send fields that were left alone as empty ones */
    bool record;          /* one row is the rule: it is shown as lines of names and values */
    bool report;          /* what it found is shown where it fails, too */
    bool finds;           /* it looks for what is wrong with this server: for the API that it found
                           * something is no failure. Such a command is a `report` */
    struct command *next; /* set by command_register() */
};

enum {
    COMMAND_ARGS_MAX = 16,
    COMMAND_BRIEF_MAX = 57,
    AUDIT_BYTES_MAX = 6144,
    COMMAND_CHANGED_MAX = 4096 /* bytes of what a value was, and of what it is now */
};

struct command_field {
    const char *key; /* static */
    slice str;       /* of the call's arena; number, "true", "false" or text */
    enum { FIELD_TEXT, FIELD_INT, FIELD_BOOL } kind;
};
struct command_row {
    struct command_row *next;
    struct command_field *fields;
    uint32_t count, cap;
};

/* What the text of an incomplete answer ends with. */
#define COMMAND_INCOMPLETE "a node did not answer, and what it has is missing here"

/* Made by the control socket, the ad-hoc commands or the API: zeroed, with command, arena, worker,
 * who and finished set. Its maker frees it in `finished`. It may move between worker threads as a
 * whole. */
struct command_call {
    const struct command *command;
    struct arena *arena;              /* lives as long as the call */
    slice args[COMMAND_ARGS_MAX];     /* by index of the row; ptr NULL: absent */
    int64_t values[COMMAND_ARGS_MAX]; /* those that are given, as numbers: param_check() */
    void *worker;                     /* struct worker: that of the caller, then that of run() */
    struct principal who;             /* who runs it. Its texts live as long as the call */
    void (*finished)(struct command_call *call, void *arg); /* on any worker, once */
    void *arg;
    /* result */
    struct command_row *rows, **tail;
    enum err err;
    slice text;          /* of a failure, or one line of success; may be empty */
    slice before, after; /* command_changed() */
    const char *note;    /* the last line of a success; NULL: none */
    const char *culprit; /* the argument that was refused, also one that it has not; NULL: none */
    slice next;          /* there are more rows: what `after` must be for them; ptr NULL: none */
    uint64_t left_out;   /* rows beyond the most that an answer has: of all workers */
    bool ended;
    bool typed;       /* at a command line: what is wrong with an argument is said with hyphens */
    bool part;        /* COMMAND_EACH: on one of the workers */
    bool incomplete;  /* a node did not answer; its last words say so */
    bool discreet;    /* of its arguments only which setting it is about is logged */
    bool recorded;    /* the audit log has its entry already */
    uint64_t job;     /* its number as a job (ops/jobs.h), 0: it is none. Its entry of the audit
                       * log ends that */
    uint64_t step_of; /* number of the job that made it as one of its steps; 0: it is no step */
};

/* What a principal needs for it: "users.read", "users.write". */
enum { COMMAND_PERMISSION_MAX = 32 };
void command_permission(const struct command *c, char *out, size_t cap);

/* Whether a path of one `rest` is one of the other but for the names of arguments. */
bool command_rest_clashes(const char *a, const char *b);
void command_register(struct command *c);
void commands_check(void); /* ends the process if a row that is registered is not as rows must be */
struct command *command_first(void);
struct command *command_find(slice name);
bool command_has_arg(const struct command *c, const char *name);
/* NULL: none of these has that name. columns: NULL, or until one without a name. */
const struct command_column *command_column_find(const struct command_column *columns, slice name);
/* The first clause of a doc, up to the first of .:;( : for a line of help or a menu. */
slice command_brief(const char *doc);

/* The value of an argument, followed by a NUL; ptr NULL: not given. The name must be one of the
 * row. */
slice command_arg(const struct command_call *c, const char *name);
bool command_flag(const struct command_call *c, const char *name);
/* The number that an argument stands for; `missing` where it is not given. */
int64_t command_number(const struct command_call *c, const char *name, int64_t missing);
/* Fills args and values, in the call's arena, from name/value pairs and checks them against the
 * row. E_SYNTAX: unknown, given twice, missing, not UTF-8, with control characters other than tab
 * and line ends, or not what its type is; E_LIMIT: out of its range. A flag's value may be empty.
 * Addresses are checked where the command runs: home/command_run.h. */
NODISCARD enum err command_bind(struct command_call *c, const slice *names, const slice *values,
                                size_t count, struct why *why);

/* What a value was and what it is now, for the audit log; never a secret. Both are copied, and cut
 * to COMMAND_CHANGED_MAX. For a character that is not seen, or turns the direction of text, stands
 * its code: \u202e. */
void command_changed(struct command_call *c, slice before, slice after);
/* A part of such a text: name=value, behind a space if it is not the first of its line. The value
 * is quoted if it has spaces, quotes or such characters, since users choose many: nothing in it
 * looks like another part. name NULL: the value alone, also quoted if it has a "=". */
struct buf;
void command_changed_part(struct buf *out, const char *name, slice value);
/* Such parts, ended by { 0 }, as one text. */
struct command_part {
    const char *name;
    slice value;
};
slice command_changed_parts(struct arena *arena, const struct command_part *parts);
/* A copy of the text in the call's arena, as command_changed() makes it. */
slice command_changed_text(const struct command_call *c, slice text);

/* Whether the audit log has an entry for the call: it changes something, it was refused, or its row
 * says so. */
bool command_is_audited(const struct command_call *c);
/* Its arguments for a log, without secrets and messages: at most AUDIT_BYTES_MAX. */
void command_audit_args(const struct command_call *c, struct buf *out);

/* Logs who ran which command with which result, without secrets and messages: at LOG_INFO, or at
 * LOG_DEBUG if it changes nothing. */
void command_audit(const struct command_call *c, struct log_area *area);

/* What the call does has no effect while this switch, "s2s.policy", is off everywhere: a success
 * says so in a last line, and that `on` is the value to set. Before the end of the call. */
void command_idle_while_off(struct command_call *c, const char *setting, const char *on);
/* Such a line of another kind. NULL: none. Copied. */
void command_note(struct command_call *c, const char *line);

/* Begins a row; the fields below go into it. Each is a column of the command, of its type. */
void command_row(struct command_call *c);
void command_text(struct command_call *c, const char *key, slice value);
void command_int(struct command_call *c, const char *key, int64_t value);
void command_bool(struct command_call *c, const char *key, bool value);
/* A field of a row that was made elsewhere, as its text. false: the command has no such column, or
 * none for such a value, and nothing is done. */
bool command_field(struct command_call *c, slice key, slice text);
/* Its value; ptr NULL, 0: there is none. */
slice command_row_text(const struct command_row *r, const char *key);
int64_t command_row_int(const struct command_row *r, const char *key);
/* The rows so far, which the call has no longer; and one of them again, behind the others. */
struct command_row *command_take_rows(struct command_call *c);
void command_keep_row(struct command_call *c, struct command_row *r);
/* Keeps at most so many rows; those left out are counted. */
void command_limit_rows(struct command_call *c, uint32_t max);
/* Ends the call well: there are more rows, which --after `last` shows. */
void command_done_more(struct command_call *c, slice last);
void command_done_more_number(struct command_call *c, int64_t last);
/* Ends the call well with one page of its rows: those behind `after` in the order of the text
 * `key`, at most `max`. */
void command_done_page(struct command_call *c, const char *key, slice after, uint32_t max);
/* The argument by which a command is about one account: in all paths of the API the same. */
#define COMMAND_USER_ARG_WHERE(also_unserved)                                                      \
    {                                                                                              \
        .name = "jid", .kind = ARG_POSITIONAL, .type = PARAM_USER, .unserved = (also_unserved),    \
        .doc = "address of the account: name@domain"                                               \
    }
#define COMMAND_USER_ARG COMMAND_USER_ARG_WHERE(false)
/* Also of a domain that the node does not serve. */
#define COMMAND_ANY_USER_ARG COMMAND_USER_ARG_WHERE(true)
/* Of commands that are `reasoned`: what they take for a reason. */
bool command_is_reason(slice text);
#define COMMAND_REASON(most)                                                                       \
    .name = "reason", .min = 3, .max = (most), .check = command_is_reason,                         \
    .form = "at least 3 characters, blanks and line breaks not counted"
#define COMMAND_REASON_ARG                                                                         \
    {                                                                                              \
        COMMAND_REASON(1000), .kind = ARG_OPTION, .doc = "why this is read, for the audit log"     \
    }
/* Lists that go on: the arguments, how many rows the call asks for, and its end with the page that
 * it asks for, of rows that all have another text `key`; with a line behind the last page. */
enum { COMMAND_PAGE_MAX = 50000 };
#define COMMAND_LIMIT_ARG(most, says)                                                              \
    {                                                                                              \
        .name = "limit", .kind = ARG_OPTION, .type = PARAM_INT, .min = 1, .max = (most),           \
        .doc = (says)                                                                              \
    }
#define COMMAND_PAGE_ARGS(what)                                                                    \
    { .name = "after", .kind = ARG_OPTION, .doc = "begin after this " what },                      \
        COMMAND_LIMIT_ARG(COMMAND_PAGE_MAX, "show at most this number")
uint32_t command_page_limit(const struct command_call *c);
void command_done_listed(struct command_call *c, const char *key);
void command_done_listed_with(struct command_call *c, const char *key, const char *text);
void command_done(struct command_call *c, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* Ends the call badly with "WHAT: the text of e", or with that text alone. E_TIMEOUT of a command
 * that changes something: it adds that the change may still happen. */
void command_fail_cause(struct command_call *c, enum err e, const char *what);
/* The end of the answer where a change could not be stored, and was all that the command does:
 * "nothing was changed", or that it may still happen. */
const char *command_outcome(enum err e);
void command_fail(struct command_call *c, enum err e, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
