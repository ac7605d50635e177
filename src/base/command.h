/* command: what an operator can do, as static rows; the control socket, `musterctl` (help,
 * completion, argument parsing), docs/commands.md and later REST and ad-hoc commands are all made
 * from them.
 *
 * A call runs on the loop of a worker and may end later: exactly one command_done() or
 * command_fail(). Results are rows of named fields; every surface renders the same rows. */
#pragma once
#include "base/err.h"
#include "base/slice.h"

enum command_arg_kind {
    ARG_POSITIONAL, /* required, in order */
    ARG_OPTIONAL,   /* positional, may be missing; after the required ones */
    ARG_OPTION,     /* --name VALUE */
    ARG_FLAG,       /* --name */
    ARG_SECRET,     /* --name VALUE; musterctl also takes --stdin or prompts; never logged */
    ARG_SECRET_MADE /* the same, but missing or empty the server makes one */
};

struct command_arg {
    const char *name; /* "jid" */
    enum command_arg_kind kind;
    const char *doc;
    const char *const *choices; /* NULL: anything */
};

static inline bool command_arg_is_secret(const struct command_arg *a)
{
    return a->kind == ARG_SECRET || a->kind == ARG_SECRET_MADE;
}

struct command_call;
struct setting;
struct log_area;

enum command_access {
    COMMAND_ADMIN, /* operators, and administrators from their clients */
    COMMAND_OWN,   /* also everybody from a client for himself: the argument `jid` is who asks */
    COMMAND_LOCAL  /* operators at the control socket alone: it is about files of the host */
};

struct command {
    const char *name;               /* "user add": one or two words */
    const struct command_arg *args; /* ended by { 0 } */
    void (*run)(struct command_call *call);
    const char *doc;
    const char *asks; /* a sentence before "Go on?", for what cannot be undone; NULL: just do it */
    bool reads;       /* changes nothing: its lines in the log are at LOG_DEBUG */
    enum command_access access;
    /* COMMAND_OWN: the switch that lets users run it who are no administrators; NULL: they may. */
    const struct setting *own_if;
    /* Where a XEP defines it as an ad-hoc command: its node, and the FORM_TYPE of its one row. */
    const char *node, *form_type;
    const char *const *columns; /* order of fields in tables, NULL-terminated; NULL: as added */
    struct command *next;       /* set by command_register() */
};

enum { COMMAND_ARGS_MAX = 16 };

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

/* Made by a surface, zeroed, with command, arena, worker, actor and finished set; freed by the
 * surface in `finished`. Moves between worker threads as a whole. */
struct command_call {
    const struct command *command;
    struct arena *arena;          /* lives as long as the call */
    slice args[COMMAND_ARGS_MAX]; /* by index of the row; ptr NULL: absent */
    void *worker;                 /* struct worker of im/ on which run() is called */
    slice actor;                  /* who asks, for the audit log: "control:root" */
    void (*finished)(struct command_call *call, void *arg); /* on any worker, once */
    void *arg;
    /* result */
    struct command_row *rows, **tail;
    enum err err;
    slice text; /* of a failure, or one line of success; may be empty */
    bool ended;
    bool remote;   /* not from the control socket: no COMMAND_LOCAL, no setting that is `local` */
    bool discreet; /* its arguments are not for the log */
};

void command_register(struct command *c);
struct command *command_first(void);
struct command *command_find(slice name);

/* The name must be one of the row. ptr NULL: absent. A value is followed by a NUL. */
slice command_arg(const struct command_call *c, const char *name);
bool command_flag(const struct command_call *c, const char *name);
/* Fills args, in the call's arena, from name/value pairs and checks them against the row. E_SYNTAX:
 * unknown, given twice, missing, or not a choice; a flag's value is empty, "true" or "false". */
NODISCARD enum err command_bind(struct command_call *c, const slice *names, const slice *values,
                                size_t count, struct why *why);

/* The line that says who did what with which result; secrets are left out. At LOG_INFO for what
 * changes something. */
void command_audit(const struct command_call *c, struct log_area *area);

void command_row(struct command_call *c); /* begins a row; the fields below go into it */
void command_text(struct command_call *c, const char *key, slice value);
void command_int(struct command_call *c, const char *key, int64_t value);
void command_bool(struct command_call *c, const char *key, bool value);
void command_done(struct command_call *c, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void command_fail(struct command_call *c, enum err e, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
