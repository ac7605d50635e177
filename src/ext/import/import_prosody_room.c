#include "ext/import/import_prosody_room.h"
#include "base/arena.h"
#include "base/buf.h"
#include "codec/xml_write.h"
#include "ext/import/import_room_writer.h"
#include "xmpp/jid.h"
#include "xmpp/ns.h"

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
    AS_NONE
};

/* What Prosody calls it, what it is here; NULL: it is used elsewhere, or means nothing here. */
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
    { "persistent", NULL, AS_NONE },
    { "subject", NULL, AS_NONE },
    { "subject_from", NULL, AS_NONE },
    { "subject_time", NULL, AS_NONE },
    { "occupant_id_salt", NULL, AS_NONE },
    { "locked", NULL, AS_NONE },
};

static void put_setting(struct room_writer *r, const struct room_setting *s,
                        const struct lua_value *v)
{
    static const enum room_pair pairs[] = { [AS_LINE] = ROOM_LINE,
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
        (void)room_writer_text(r, s->ours, pairs[s->kind], v->text, slice_of(s->theirs));
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
static void put_presence_roles(struct prosody_room *r, const struct lua_value *roles)
{
    static const char *const names[] = { "visitor", "participant", "moderator" };
    struct buf text;
    buf_init(&text, ROOM_TEXT_MAX);
    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++) {
        const struct lua_value *v = lua_get(roles, names[i]);
        if (v == NULL || v->type != LUA_BOOLEAN || v->truth)
            buf_printf(&text, "%s,", names[i]);
    }
    room_writer_word(&r->file, "presence_roles", buf_fit(&text));
    buf_fini(&text);
}

static void put_config(struct prosody_room *r, const struct lua_value *data)
{
    slice password = lua_text(data, "password");
    room_writer_truth(&r->file, "password", password.len > 0 && password.len <= ROOM_TEXT_MAX);
    for (const struct lua_field *f = data->first; f != NULL; f = f->next) {
        const struct room_setting *s = setting_of(f->key.text);
        if (slice_is(f->key.text, "presence_broadcast") && f->value.type == LUA_TABLE)
            put_presence_roles(r, &f->value);
        else if (s == NULL)
            room_writer_lost(&r->file, "of the configuration:", f->key.text);
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

/* Who is affiliated: older versions have a table of them, newer ones the room itself. */

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
                                    lua_text(lua_get(more, key), "reserved_nickname"));
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

/* What Prosody adds, and what is made anew here: who said it, ids of occupant and archive. */
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
    return (slice_is(name, "stanza-id") && slice_is(ns, NS_SID)) ||
           (slice_is(name, "occupant-id") && slice_is(ns, "urn:xmpp:occupant-id:0"));
}

/* Empty: it has no text, or is from elsewhere. */
static slice room_message(const struct room_writer *r, const struct lua_value *item,
                          struct buf *out, struct arena *tmp)
{
    struct buf content;
    struct xml_write x;
    struct jid author;
    slice by = { 0 }, from;
    const struct lua_value *attr = lua_get(item, "attr");
    if (!slice_is(lua_text(item, "name"), "message") ||
        !room_writer_is_from(r, lua_text(attr, "from"), &from, tmp) || slice_eq(from, r->jid))
        return (slice){ 0 };
    buf_init(&content, ROOM_STANZA_MAX);
    for (const struct lua_field *f = item->first; f != NULL; f = f->next)
        if (f->key.type == LUA_NUMBER && f->value.type == LUA_TABLE &&
            !is_of_archive(&f->value, &by))
            prosody_stanza(&content, &f->value, NULL, (slice){ 0 });
    xml_write_to(&x, out);
    xml_open_with(&x, "message", NULL, "from", from);
    if (by.len > 0 && jid_parse(&author, by, tmp) == OK)
        xml_attr(&x, "to", author.full);
    xml_attr_some(&x, "id", lua_text(attr, "id"));
    xml_attr(&x, "type", SLICE("groupchat"));
    xml_attr_some(&x, "xml:lang", lua_text(attr, "xml:lang"));
    xml_raw(&x, buf_fit(&content));
    xml_close(&x);
    bool fine = content.len > 0 && !content.overflow;
    buf_fini(&content);
    return fine ? buf_fit(out) : (slice){ 0 };
}

static void put_message(void *arg, const struct lua_value *item)
{
    struct room_writer *r = &((struct prosody_room *)arg)->file;
    struct buf xml;
    struct arena *tmp = arena_create(0);
    buf_init(&xml, ROOM_STANZA_MAX);
    (void)room_writer_message(r, room_message(r, item, &xml, tmp),
                              prosody_time_us(lua_text(item, "when")));
    buf_fini(&xml);
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

void prosody_room(struct prosody_user *u, struct source_found *out)
{
    struct prosody_room r = { .user = *u };
    out->host = prosody_name(u->host, u->tmp);
    out->name = prosody_name(u->user, u->tmp);
    const char *problem = room_writer_begin(&r.file, out, u->tmp);
    struct lua_value config = prosody_read(&r.user, "config", ".dat");
    if (problem == NULL)
        problem = room_problem(&r, &config);
    if (problem == NULL) {
        room_writer_config(&r.file, creator_of(&r, &config));
        put_config(&r, lua_get(&config, "_data"));
        put_people(&r, &config);
        prosody_each(&r.user, "muc_log", put_message);
        problem = r.user.why.text[0] != '\0' ? r.user.why.text : NULL;
    }
    room_writer_end(&r.file, out, problem);
}
