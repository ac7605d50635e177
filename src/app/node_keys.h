/* node_keys: the keys that the node file may have, a row each: the form of its value, the limits,
 * the default and the meaning. The words of messages and the documentation are made from the rows.
 */
#pragma once
#include "base/slice.h"
#include <stdint.h>

struct arena;
struct buf;

enum key_type {
    KEY_NAME,     /* letters, digits, hyphen; min to max bytes */
    KEY_INT,      /* min to max */
    KEY_WORKERS,  /* auto, or min to max */
    KEY_CHOICE,   /* index into choices */
    KEY_PATH,     /* made absolute */
    KEY_DATABASE, /* sqlite, or a URL of PostgreSQL */
    KEY_DOMAINS,  /* struct node_domains */
    KEY_LISTEN,   /* struct node_listen_list */
    KEY_CERTS,    /* struct node_certs */
    KEY_SETTINGS, /* struct node_settings */
};

enum key_reload { KEY_RESTART, KEY_RELOAD };

struct node_key {
    const char *name;
    enum key_type type;
    enum key_reload reload; /* KEY_RELOAD: SIGHUP applies a change */
    size_t offset;          /* in struct node_file */
    int64_t min, max;
    const char *const *choices;
    const char *def; /* as it would be written; "": nothing; NULL: the key is required */
    const char *doc;
};

extern const struct node_key node_keys[]; /* ends with a row without a name */

const struct node_key *node_key_find(slice name); /* NULL: unknown */
/* The names directly below a section ("" is the top), for messages; NULL: there is none such. */
const char *node_keys_below(struct arena *arena, const char *section);
/* What its value may be, for messages. */
const char *node_key_allowed(struct arena *arena, const struct node_key *k);
/* The keys as a Markdown table. */
void node_keys_docs(struct buf *out);
/* The same as paragraphs of a manual page. */
void node_keys_man(struct buf *out);
