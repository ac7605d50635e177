/* command_form: forms that a protocol prescribes and that run a command row: rows of features
 * (struct feature.command_forms) beside the forms which ad-hoc commands (XEP-0050) make of the
 * command rows by themselves. They are for administrators, at the server's address. */
#pragma once
#include "xmpp/form.h"
#include "xmpp/ns.h"

struct buf;
struct command_call;

/* Use of the values of a field. */
enum command_use {
    USE_VALUE, /* one line: the argument; of a list one of its options */
    USE_JID,   /* one address, prepared: the argument */
    USE_EACH,  /* addresses: the command runs once for each; one such field a form */
    USE_WORDS, /* addresses, separated by spaces: the argument; none: the flag `default` */
    USE_LINES, /* a text of lines: the argument */
    USE_SAME   /* no argument: must be what the argument `arg` is */
};

struct command_ask {
    struct form_row row;
    enum command_use use;
    const char *arg;
    const char *none;             /* a value that means nothing: no argument; NULL: there is none */
    const char *setting;          /* whose value is offered; NULL: none */
    const char *(*offered)(void); /* the same for what is no setting */
};

/* A field of the result: the values of `column` in all rows, or in those whose `name` is this. */
struct command_result {
    const char *var, *column, *name;
};

struct command_form {
    const char *node, *form_type, *title, *instructions;
    const char *command; /* name of a row; NULL: nobody may, and `refusal` says why */
    const char *refusal;
    const char *const *fixed; /* arguments that are always the same: name, value, …, NULL */
    const struct command_ask *fields;     /* ended by { 0 }; NULL: it asks nothing */
    const struct command_result *results; /* ended by { 0 }; NULL: none */
    void (*write)(struct xml_write *x, const struct command_call *call); /* more in the result */
};

/* Service Administration (XEP-0133): `.node` and `.form_type` of a form. */
#define ADMIN_NODE(name) .node = NS_ADMIN "#" name, .form_type = NS_ADMIN

/* A field; one that has to be filled in; the end of a form's. */
#define COMMAND_ASK(v, t, l, ...)                                                                  \
    {                                                                                              \
        .row = { .var = v, .type = t, .label = l }, __VA_ARGS__                                    \
    }
#define COMMAND_NEED(v, t, l, ...)                                                                 \
    {                                                                                              \
        .row = { .var = v, .type = t, .label = l, .required = true }, __VA_ARGS__                  \
    }
#define COMMAND_ASK_END                                                                            \
    {                                                                                              \
        .row = { 0 }                                                                               \
    }

/* One result of one column; arguments. */
#define COMMAND_RESULT(var, column)                                                                \
    ((const struct command_result[]){ { var, column, NULL }, { 0 } })
#define COMMAND_FIXED(...) ((const char *const[]){ __VA_ARGS__, NULL })
