/* import_user: one user of a source as far as a helper thread can do it: XML that is checked, a
 * prepared address, keys. Pure but for the settings it reads.
 *
 * Limits: PIE_ELEMENT_MAX bytes, PIE_DEPTH_MAX elements inside each other. */
#pragma once
#include "account/account_life.h"
#include "codec/pie.h"
#include "codec/xml_elem.h"
#include "ext/import/import_source.h"
#include "io/work.h"
#include "xmpp/sasl.h"

struct import;
struct xml_work;

struct import_user {
    struct import_user *next;
    slice label;         /* what messages call it */
    slice jid;           /* bare and prepared; empty: it is refused */
    const char *problem; /* why */
    const char *note;    /* of its keys; NULL: none */
    struct elem user;
    struct scram_keys keys[SCRAM_HASH_COUNT];
    unsigned has;   /* of which hashes: bits */
    slice password; /* not empty: keys of all hashes are still to be made of it */
    struct work derive;
    struct import *of;
    bool piece;   /* of its archive: the account goes on in the next user (import_pieces.h) */
    bool follows; /* what was before is stored */
    bool disabled, replaces;     /* replaces: an account that was there, and is emptied */
    bool disabled_there;         /* as its source says */
    struct user_profile profile; /* of that one */
    int64_t id;
};

/* A user whose source names no domain is of this one. E_SYNTAX: there is none, so that no user of
 * the source has one; `why` says what to do. */
enum err import_user_domain(struct source_found *found, slice domain, const char *path,
                            struct why *why);

/* In the arena. The source has found it. */
struct import_user *import_user_read(const struct source_found *found, struct xml_work *xml,
                                     struct arena *tmp);

/* Makes keys of the password, which takes 10 ms or more. On a helper thread. */
void import_user_derive(struct import_user *u);

/* Hashes of which it has no keys, if it has any; 0 also if nobody can log in: auth/hashes.h. */
unsigned import_user_lacks(const struct import_user *u);
