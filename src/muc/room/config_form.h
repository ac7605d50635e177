/* config_form: the fields of a room's configuration as one table, and what is made of it: the form
 * that shows it to an owner, the reader of a submitted form, the stored text, the comparison. Pure
 * but for the settings (muc/room/settings.h), which say what owners may change. */
#pragma once
#include "base/slice.h"

struct arena;
struct buf;
struct xml_write;
struct form;
struct room_config;

/* The editor of the configuration. Owners neither see nor change fields that settings reserve for
 * administrators of group chat. */
enum room_editor { EDITOR_OWNER, EDITOR_ADMIN };

/* The fields muc#roomconfig_roomowners and _roomadmins, which are not part of the configuration but
 * whole lists of affiliations, of bare JIDs. Absent: as they are. */
struct room_people {
    bool has_owners, has_admins;
    const slice *owner, *admin;
    unsigned owner_count, admin_count;
};

/* Appends the form to fill in (§10.1.3), without logging where nothing can be logged, and with at
 * most FORM_VALUES_MAX / 2 people: both lists are left out if there are more, or if `people` does
 * not have them. */
void room_config_form(struct xml_write *x, const struct room_config *c,
                      const struct room_people *people, slice room, enum room_editor by);
/* Takes over what a submitted form says: fields that are not there keep their value, unknown ones
 * are ignored, and one that may not be changed is fine as long as it changes nothing. A form
 * without any field is fine, too (an instant room, §10.1.2). false: f->error and f->text say why,
 * and *c and *people are as they were. Texts are borrowed from the form. */
bool room_config_read(struct room_config *c, struct room_people *people, struct form *f,
                      enum room_editor by);

/* The fields one by one, for operators, with names such as `membersonly` and values as text: on and
 * off, words, or the text itself. */
struct room_field {
    slice name, label, value, allowed; /* allowed: says which values there are */
    bool secret;                       /* value is a password */
};
typedef void room_config_fn(const struct room_field *shown, void *arg);
void room_config_each(const struct room_config *c, struct arena *tmp, room_config_fn *fn,
                      void *arg);
bool room_config_is_secret(slice name); /* a password, or no field: it may be one mistyped */
/* Sets one, by such a name or the one of the form, as a submitted form does. false: f->error
 * (SE_ITEM_NOT_FOUND: no such field) and f->text say why, and *c is as it was. Texts are borrowed
 * from `text` or in tmp. */
bool room_config_set(struct room_config *c, slice name, slice text, struct form *f,
                     struct arena *tmp);

/* Appends the text for the database; and back. Stored text may be damaged: what makes no sense is
 * left at the default. The texts are in tmp. */
void room_config_store(struct buf *out, const struct room_config *c);
void room_config_load(struct room_config *c, slice stored, struct arena *tmp);

/* Bits of enum room_diff (muc/room/config.h). */
unsigned room_config_diff(const struct room_config *was, const struct room_config *is);
