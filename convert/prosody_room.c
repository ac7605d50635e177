#include "base/arena.h"
#include "base/buf.h"
#include "convert/prosody.h"
#include "convert/room.h"

struct prosody_room {
    struct prosody_user user; /* first */
    struct room_writer file;
};

/* The configuration. */

static const struct room_setting room_settings[] = {
    { "name", "name", ROOM_LINE },
    { "description", "description", ROOM_LINES },
    { "language", "language", ROOM_LANGUAGE },
    { "hidden", "listed", ROOM_FALSE },
    { "members_only", "members_only", ROOM_TRUTH },
    { "allow_member_invites", "member_invites", ROOM_TRUTH },
    { "moderated", "moderated", ROOM_TRUTH },
    { "password", "secret", ROOM_LINE },
    { "whois", "whois", ROOM_WHOIS },
    { "changesubject", "subject_lowest", ROOM_SUBJECT },
    { "history_length", "history_max", ROOM_COUNT },
    { "default_history_messages", "history", ROOM_COUNT },
    { "archiving", "archive", ROOM_TRUTH },
    { "persistent", NULL, ROOM_USED },
    { "subject", NULL, ROOM_USED },
    { "subject_from", NULL, ROOM_USED },
    { "subject_time", NULL, ROOM_USED },
    { "occupant_id_salt", NULL, ROOM_NONE },
    { "locked", NULL, ROOM_NONE },
    { NULL, NULL, ROOM_USED },
};

static void put_setting(struct room_writer *r, slice name, const struct lua_value *v)
{
    bool given = v->type == LUA_STRING || v->type == LUA_NUMBER;
    bool truth = v->type == LUA_BOOLEAN ? v->truth : given;
    if (slice_is(name, "whois"))
        truth = !slice_is(v->text, "anyone");
    room_writer_setting(r, room_settings, name, &(struct room_value){ v->text, given, truth });
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
        if (slice_is(f->key.text, "presence_broadcast") && f->value.type == LUA_TABLE)
            room_writer_roles(&r->file, "presence_roles", prosody_roles_have, &f->value);
        else
            put_setting(&r->file, f->key.text, &f->value);
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
        bool none = f->value.type == LUA_STRING && slice_is(f->value.text, "none");
        if (!is_affiliation(f)) {
            if (affiliations_of(config) != config && !none)
                room_writer_lost(&r->file, "an affiliation of", f->key.text);
            continue;
        }
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
