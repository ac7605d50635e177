/* disco_info: what an entity is and can do, as a value: written as an answer to a disco#info
 * request (XEP-0030 §3, with extension forms, XEP-0128) and hashed for entity capabilities
 * (XEP-0115 §5).
 *
 * Gathered, used and dropped within one call; everything is in the arena it was made with or is
 * static. Limits: DISCO_*_MAX; more is a mistake of ours. Pure. */
#pragma once
#include "base/slice.h"

struct arena;
struct xml_write;

enum {
    DISCO_IDENTITIES_MAX = 8,
    DISCO_FEATURES_MAX = 256,
    DISCO_FIELDS_MAX = 32,
    DISCO_VALUES_MAX = 32
};

struct disco_identity {
    slice category, type, lang, name; /* lang and name may be empty */
};
struct disco_field {
    slice form; /* its FORM_TYPE */
    slice var;
    const char *type; /* NULL: text-single; a field that may have several values needs its type */
    slice value[DISCO_VALUES_MAX];
    unsigned value_count;
};
struct disco_info {
    struct disco_identity identity[DISCO_IDENTITIES_MAX];
    slice feature[DISCO_FEATURES_MAX]; /* sorted, each once */
    struct disco_field field[DISCO_FIELDS_MAX];
    slice form_type; /* of the fields that are added; those of one form follow each other */
    unsigned identity_count, feature_count, field_count;
};

void disco_add_identity(struct disco_info *d, slice category, slice type, slice name);
void disco_add_feature(struct disco_info *d, slice feature);                /* again: fine */
void disco_add_features(struct disco_info *d, const char *const *features); /* NULL: none */
struct disco_field *disco_add_field(struct disco_info *d, slice var); /* its type can be set */
void disco_add_value(struct disco_field *f, slice value); /* beyond DISCO_VALUES_MAX: left out */

/* Appends <query/> with the node of the request; empty: none. */
void disco_write_info(struct xml_write *x, const struct disco_info *d, slice node);
/* The verification string, base64 of SHA-1 (XEP-0115 §5.1), in `tmp`. */
slice disco_caps_ver(const struct disco_info *d, struct arena *tmp);
