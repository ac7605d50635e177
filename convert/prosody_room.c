#include "base/arena.h"
#include "base/buf.h"
#include "convert/prosody.h"
#include "convert/room.h"
#include "convert/stanza.h"

struct prosody_room {
    struct prosody_user user; /* first */
    struct room_writer file;
};

/* The configuration. */

enum setting_kind {
    AS_LINE,
    AS_LINES,
    AS_LANGUAGE,
    AS_TRUTH,
    AS_FALSE,
    AS_COUNT,
    AS_WHOIS,
    AS_SUBJECT,
    AS_NONE, /* means nothing here */
    AS_USED  /* read elsewhere */
};

/* Its name there and here; NULL: it is read elsewhere, or means nothing here. */
static const struct room_setting {
    const char *theirs, *ours;
    enum setting_kind kind;
} room_settings[] = {
    { "name", "name", AS_LINE },
    { "description", "description", AS_LINES },
    { "language", "language", AS_LANGUAGE },
    { "hidden", "listed", AS_FALSE },
    { "members_only", "members_only", AS_TRUTH },
    { "allow_member_invites", "member_invites", AS_TRUTH },
    { "moderated", "moderated", AS_TRUTH },
    { "password", "secret", AS_LINE },
    { "whois", "whois", AS_WHOIS },
    { "changesubject", "subject_lowest", AS_SUBJECT },
    { "history_length", "history_max", AS_COUNT },
    { "default_history_messages", "history", AS_COUNT },
    { "archiving", "archive", AS_TRUTH },
    { "persistent", NULL, AS_USED },
    { "subject", NULL, AS_USED },
    { "subject_from", NULL, AS_USED },
    { "subject_time", NULL, AS_USED },
    { "occupant_id_salt", NULL, AS_NONE },
    { "locked", NULL, AS_NONE },
};

static void put_setting(struct room_writer *r, const struct room_setting *s,
                        const struct lua_value *v)
{
    static const enum room_text_kind kinds[] = { [AS_LINE] = ROOM_LINE,
                                                 [AS_LINES] = ROOM_LINES,
                                                 [AS_LANGUAGE] = ROOM_LANGUAGE,
                                                 [AS_COUNT] = ROOM_COUNT };
    bool given = v->type == LUA_STRING || v->type == LUA_NUMBER;
    bool truth = v->type == LUA_BOOLEAN ? v->truth : given;
    if (s->kind == AS_TRUTH || s->kind == AS_FALSE)
        room_writer_truth(r, s->ours, truth == (s->kind == AS_TRUTH));
    else if (s->kind == AS_SUBJECT)
        room_writer_word(r, s->ours, truth ? SLICE("participant") : SLICE("moderator"));
    else if (s->kind == AS_WHOIS)
        room_writer_word(r, s->ours,
                         slice_is(v->text, "anyone") ? SLICE("anyone") : SLICE("moderators"));
    else if (given)
        (void)room_writer_text(r, s->ours, kinds[s->kind], v->text, slice_of(s->theirs));
    else
        room_writer_lost(r, "of the configuration:", slice_of(s->theirs));
}

static const struct room_setting *setting_of(slice theirs)
{
    for (size_t i = 0; i < sizeof room_settings / sizeof room_settings[0]; i++)
        if (slice_is(theirs, room_settings[i].theirs))
            return &room_settings[i];
    return NULL;
}

/* Roles whose presence is shown: a table of them. */
static bool prosody_roles_have(const void *roles, const char *role)
{
    const struct lua_value *v = lua_get(roles, role);
    return v == NULL || v->type != LUA_BOOLEAN || v->truth;
}

static void put_config(struct prosody_room *r, const struct lua_value *data)
{
    slice password = lua_text(data, "password");
    room_writer_truth(&r->file, "password", password.len > 0 && password.len <= ROOM_TEXT_MAX);
    for (const struct lua_field *f = data->first; f != NULL; f = f->next) {
        const struct room_setting *s = setting_of(f->key.text);
        if (slice_is(f->key.text, "presence_broadcast") && f->value.type == LUA_TABLE)
            room_writer_roles(&r->file, "presence_roles", prosody_roles_have, &f->value);
        else if (s == NULL)
            room_writer_lost(&r->file, "of the configuration:", f->key.text);
        else if (s->kind == AS_NONE)
            prosody_lost(&r->user, "fields of rooms:", f->key.text);
        else if (s->ours != NULL)
            put_setting(&r->file, s, &f->value);
    }
    if (lua_get(data, "hidden") == NULL) /* Prosody stores no default */
        room_writer_truth(&r->file, "listed", true);
    if (lua_get(data, "whois") == NULL)
        room_writer_word(&r->file, "whois", SLICE("moderators"));
    if (lua_get(data, "changesubject") == NULL)
        room_writer_word(&r->file, "subject_lowest", SLICE("moderator"));
    room_writer_subject(&r->file, lua_text(data, "subject"), lua_text(data, "subject_from"),
                        prosody_time_us(lua_text(data, "subject_time")));
}

/* Affiliations. Older versions have a table of them; in newer ones they are keys of the room. */

static const struct lua_value *affiliations_of(const struct lua_value *config)
{
    const struct lua_value *people = lua_get(config, "_affiliations");
    return people != NULL && people->type == LUA_TABLE ? people : config;
}

static bool is_affiliation(const struct lua_field *f)
{
    return f->key.type == LUA_STRING && f->value.type == LUA_STRING && f->key.text.len > 0 &&
           f->key.text.ptr[0] != '_' && !slice_is(f->key.text, "jid") &&
           !slice_is(f->value.text, "none");
}

static void put_people(struct prosody_room *r, const struct lua_value *config)
{
    const struct lua_value *more = lua_get(config, "_affiliation_data");
    slice jid;
    for (const struct lua_field *f = affiliations_of(config)->first; f != NULL; f = f->next) {
        if (!is_affiliation(f))
            continue;
        const char *key = slice_cstr(r->user.tmp, f->key.text);
        if (room_writer_may(&r->file, f->key.text, f->value.text, &jid))
            room_writer_affiliation(&r->file, jid, f->value.text,
                                    lua_text(lua_get(more, key), "reserved_nickname"),
                                    lua_text(lua_get(more, key), "reason"));
        else
            room_writer_lost(&r->file, "an affiliation of", f->key.text);
    }
}

/* The first owner; empty: there is none. */
static slice creator_of(struct prosody_room *r, const struct lua_value *config)
{
    slice jid;
    for (const struct lua_field *f = affiliations_of(config)->first; f != NULL; f = f->next)
        if (is_affiliation(f) && slice_is(f->value.text, "owner") &&
            room_writer_may(&r->file, f->key.text, f->value.text, &jid))
            return jid;
    return (slice){ 0 };
}

/* Its archive. */

/* Prosody adds these, or they are made anew here: who said it, ids of occupant and archive. */
static bool is_of_archive(const struct lua_value *child, slice *author)
{
    const struct lua_value *attr = lua_get(child, "attr");
    slice name = lua_text(child, "name"), ns = lua_text(attr, "xmlns");
    if (slice_is(name, "x") && slice_is(ns, "http://jabber.org/protocol/muc#user")) {
        for (const struct lua_field *f = child->first; f != NULL; f = f->next)
            if (slice_is(lua_text(&f->value, "name"), "item"))
                *author = lua_text(lua_get(&f->value, "attr"), "jid");
        return true;
    }
    return is_added(name, ns);
}

static void put_said(void *arg, const struct lua_value *item)
{
    struct prosody_room *room = arg;
    struct room_writer *r = &room->file;
    struct buf content;
    struct arena *tmp = arena_create(0);
    slice author = { 0 };
    const struct lua_value *attr = lua_get(item, "attr");
    buf_init(&content, ROOM_STANZA_MAX);
    if (slice_is(lua_text(item, "name"), "message"))
        for (const struct lua_field *f = item->first; f != NULL; f = f->next)
            if (f->key.type == LUA_NUMBER && f->value.type == LUA_TABLE &&
                !is_of_archive(&f->value, &author))
                prosody_stanza(&room->user, &content, &f->value, NULL, (slice){ 0 });
    room_writer_said(
        r,
        &(struct room_said){ .from = lua_text(attr, "from"),
                             .author = author,
                             .id = lua_text(attr, "id"),
                             .lang = lua_text(attr, "xml:lang"),
                             .content = content.overflow ? (slice){ 0 } : buf_fit(&content),
                             .at_us = prosody_time_us(lua_text(item, "when")) },
        tmp);
    buf_fini(&content);
    arena_destroy(&tmp);
}

/* The room. */

static const char *room_problem(const struct prosody_room *r, const struct lua_value *config)
{
    const struct lua_value *data = lua_get(config, "_data");
    const struct lua_value *persistent = lua_get(data, "persistent");
    if (r->user.why.text[0] != '\0')
        return r->user.why.text;
    if (data == NULL || data->type != LUA_TABLE)
        return "its file does not say how it is configured";
    if (persistent == NULL || persistent->type != LUA_BOOLEAN || !persistent->truth)
        return "it is not persistent";
    return lua_get(data, "destroyed") != NULL ? "it was destroyed" : NULL;
}

/* Fields beside the configuration and affiliations. */
static void put_more(struct prosody_room *r, const struct lua_value *config)
{
    static const char *const read[] = { "_jid", "jid", "_data", "_affiliations",
                                        "_affiliation_data" };
    static const char *const of_person[] = { "reserved_nickname", "reason", NULL };
    const struct lua_value *more = lua_get(config, "_affiliation_data");
    for (const struct lua_field *f = more == NULL ? NULL : more->first; f != NULL; f = f->next)
        prosody_lost_fields(&r->user, &f->value, "affiliations", of_person);
    for (const struct lua_field *f = config->first; f != NULL; f = f->next) {
        size_t i = 0;
        while (i < sizeof read / sizeof read[0] && !slice_is(f->key.text, read[i]))
            i++;
        bool none = f->value.type == LUA_STRING && slice_is(f->value.text, "none");
        if (i == sizeof read / sizeof read[0] && !none &&
            (affiliations_of(config) != config || !is_affiliation(f)))
            room_writer_lost(&r->file, "of its store `config`:", f->key.text);
    }
}

void prosody_room(struct prosody_user *u)
{
    struct prosody_room r = { .user = *u };
    const char *problem = room_writer_begin(&r.file, u->output, prosody_name(u->user, u->tmp),
                                            prosody_name(u->host, u->tmp), u->tmp);
    struct lua_value config = prosody_read(&r.user, "config");
    if (problem == NULL)
        problem = room_problem(&r, &config);
    if (problem == NULL) {
        room_writer_config(&r.file, creator_of(&r, &config));
        put_config(&r, lua_get(&config, "_data"));
        put_people(&r, &config);
        put_more(&r, &config);
        prosody_each(&r.user, "muc_log", put_said);
        problem = r.user.why.text[0] != '\0' ? r.user.why.text : NULL;
    }
    room_writer_end(&r.file, problem);
}
