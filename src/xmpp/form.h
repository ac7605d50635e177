/* form: Data Forms (XEP-0004, with the FORM_TYPE of XEP-0068): a form that somebody sent, read into
 * a list of fields, and the writer of ours.
 *
 * A form that was read borrows its text, or has it in the arena. Nothing stops at the first wrong
 * field: getters leave their target as it is, and the form keeps the first thing that was wrong, at
 * which the owner looks once, at the end:
 *
 *     if (form_parse(&f, &x, tmp) && form_expect(&f, NS_X)) {
 *         form_bool(&f, "x#persist", &persist);
 *         form_int(&f, "x#max", 1, 100, &max);
 *     }
 *     if (f.error != SE_NONE)
 *         iq_error(iq, f.error, f.text);
 *
 * Limits: FORM_FIELDS_MAX fields, FORM_VALUES_MAX values in all of them. Pure. */
#pragma once
#include "base/slice.h"
#include "xmpp/stanza_error.h"

struct arena;
struct xml_write;
struct elem;
struct jid;

enum { FORM_FIELDS_MAX = 256, FORM_VALUES_MAX = 1024 };

enum form_kind { FORM_FORM, FORM_SUBMIT, FORM_CANCEL, FORM_RESULT };

enum form_type {
    FORM_TEXT_SINGLE, /* what is not said, or not known (§3.3) */
    FORM_TEXT_MULTI,
    FORM_TEXT_PRIVATE,
    FORM_BOOLEAN,
    FORM_LIST_SINGLE,
    FORM_LIST_MULTI,
    FORM_JID_SINGLE,
    FORM_JID_MULTI,
    FORM_HIDDEN,
    FORM_FIXED,
    FORM_TYPE_COUNT
};

struct form_field {
    slice var;
    enum form_type type;
    const slice *value;
    unsigned value_count;
};

/* A form that was read. */
struct form {
    enum form_kind kind;
    slice form_type; /* FORM_TYPE; empty: none */
    const struct form_field
        *field; /* in their order, FORM_TYPE too; fixed ones without var left out */
    unsigned field_count;
    struct arena *tmp;
    enum stanza_error error; /* SE_NONE: nothing was wrong so far */
    slice text;              /* says what */
};

/* Reads <x xmlns='jabber:x:data'/>. false: bad-request. */
bool form_parse(struct form *out, const struct elem *x, struct arena *tmp);
/* Reads the form that is a child of `parent`. false: see error, which is SE_NONE if there is no
 * form at all. */
bool form_parse_child(struct form *out, const struct elem *parent, struct arena *tmp);
/* A form of type submit with this FORM_TYPE is wanted; anything else: false, bad-request. */
bool form_expect(struct form *f, const char *form_type);
/* No fields but these (NULL-terminated) and FORM_TYPE; else false with `error`. XEP-0004 §3.1 lets
 * unknown fields pass; protocols that do not say so. */
bool form_only(struct form *f, const char *const *vars, enum stanza_error error);
/* Notes what the owner found wrong, unless something was already. Returns false. */
bool form_wrong(struct form *f, enum stanza_error error, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

const struct form_field *form_field(const struct form *f, const char *var); /* NULL: not there */

/* Getters: true if the field is there, has a value, and the value is right; then it is in *out. A
 * value that is wrong, or one too many: false, not-acceptable (§4). A field without value counts as
 * absent, except where its values are a list: that is empty then. */
bool form_text(struct form *f, const char *var, slice *out);  /* one line, may be empty */
bool form_lines(struct form *f, const char *var, slice *out); /* text-multi, joined by newlines */
bool form_bool(struct form *f, const char *var, bool *out);
bool form_int(struct form *f, const char *var, int64_t min, int64_t max, int64_t *out);
bool form_jid(struct form *f, const char *var, struct jid *out);
bool form_time(struct form *f, const char *var, int64_t *us); /* XEP-0082; us since 1970 */
/* The number of the value in a NULL-terminated list; for list-multi a bit for each, at most 32. */
bool form_choice(struct form *f, const char *var, const char *const *options, unsigned *out);
bool form_choices(struct form *f, const char *var, const char *const *options, uint32_t *out);
/* All values as they are; and prepared JIDs, each once (§3.3: duplicates are ignored). */
bool form_values(struct form *f, const char *var, const slice **out, unsigned *count);
bool form_jids(struct form *f, const char *var, const slice **out, unsigned *count);

/* What we write. A row describes a field of a form that we offer; static tables mostly. */
struct form_option {
    const char *value, *label; /* label may be NULL */
};
struct form_row {
    const char *var;
    enum form_type type;
    const char *label, *desc;          /* NULL: none */
    const struct form_option *options; /* ended by { 0 }; NULL: none */
    const char *extra; /* XML at the end of the field: <validate/> …; NULL: none */
    bool required;
};

void form_open(struct xml_write *x, enum form_kind kind, const char *form_type); /* NULL: none */
/* The same with words for people, which come before all fields (§3.1); NULL: none. */
void form_open_titled(struct xml_write *x, enum form_kind kind, const char *form_type,
                      const char *title, const char *instructions);
/* A field of a form to fill in, with no value, one value, or any number between open and close. */
void form_ask(struct xml_write *x, const struct form_row *row);
void form_ask_value(struct xml_write *x, const struct form_row *row, slice value);
void form_ask_open(struct xml_write *x, const struct form_row *row);
/* A field of a form of type result or submit: no label and no options. */
void form_put(struct xml_write *x, const char *var, slice value);
void form_put_int(struct xml_write *x, const char *var, int64_t value);
/* With any number of values; type: one that may have them (§3.3). */
void form_put_open(struct xml_write *x, const char *var, enum form_type type);
void form_value(struct xml_write *x, slice value);
void form_field_close(struct xml_write *x);
/* A table (§3.4): the columns once, then items with form_put() for each column. */
void form_reported(struct xml_write *x, const struct form_row *columns, unsigned count);
void form_item_open(struct xml_write *x);
void form_item_close(struct xml_write *x);
void form_close(struct xml_write *x);
