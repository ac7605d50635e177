#include "ext/import/import_prosody_room.h"
#include "base/arena.h"
#include "base/base64.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/ensure.h"
#include "base/log.h"
#include "base/rand.h"
#include "base/utf8.h"
#include "codec/json_text.h"
#include "xmpp/jid.h"
#include "xmpp/ns.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    TEXT_MAX = 1023,
    REASONS_MAX = 100,
    WRITE_BYTES = 1 << 20,
    OUT_MAX = 2 * WRITE_BYTES + (16 << 20),
    STANZA_MAX = 4 << 20,
    SECRET_LEN = 32,
    SECRET_TEXT_MAX = 64
};
#define DAY_US 86400000000ull

struct prosody_room {
    struct prosody_user user; /* first */
    struct source_found *found;
    slice jid;
    struct buf out; /* what is written next */
    int fd, error;
    struct source_lost **last;
    unsigned lost;
    uint64_t now_us, last_id, affiliations, messages, others;
};

static void prosody_room_lost(struct prosody_room *r, const char *what, slice which)
{
    struct arena *tmp = r->user.tmp;
    if (r->lost++ >= REASONS_MAX)
        return;
    struct source_lost *l = arena_new(tmp, struct source_lost, 1);
    which.len = utf8_valid_len(which);
    l->what = arena_printf(tmp, "%s%s%.*s", what, which.len > 0 ? " " : "", SLICE_ARG(which));
    *r->last = l;
    r->last = &l->next;
}

/* Writing. */

static void prosody_room_flush(struct prosody_room *r)
{
    for (size_t at = 0; at < r->out.len && r->error == 0;) {
        ssize_t n = write(r->fd, r->out.ptr + at, r->out.len - at);
        if (n >= 0)
            at += (size_t)n;
        else if (errno != EINTR)
            r->error = errno;
    }
    if (r->out.overflow)
        r->error = EFBIG;
    buf_clear(&r->out);
}

/* One line, cut to what a text of the configuration may have. */
static slice room_text(const struct prosody_room *r, slice text, bool lines)
{
    slice s = { text.ptr, text.len < TEXT_MAX ? text.len : TEXT_MAX };
    s.len = utf8_valid_len(s);
    char *clean = arena_alloc_raw(r->user.tmp, s.len + 1);
    for (size_t i = 0; i < s.len; i++) {
        bool plain = (unsigned char)s.ptr[i] >= ' ' || (lines && s.ptr[i] == '\n');
        clean[i] = plain ? s.ptr[i] : ' ';
    }
    return (slice){ clean, s.len };
}

/* As it is stored: in one line, with \n and \\. */
static slice room_text_stored(const struct prosody_room *r, slice text)
{
    char *out = arena_alloc_raw(r->user.tmp, 2 * text.len + 1);
    size_t n = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] == '\n' || text.ptr[i] == '\\')
            out[n++] = '\\';
        out[n++] = text.ptr[i] == '\n' ? 'n' : text.ptr[i];
    }
    return (slice){ out, n };
}

static void put_pair(struct prosody_room *r, const char *key, slice value)
{
    ensure(utf8_valid(value));
    buf_printf(&r->out, ",\"%s\":", key);
    json_text(&r->out, value);
}

/* The configuration. */

enum setting_kind {
    AS_LINE,
    AS_LINES,
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
    { "language", "language", AS_LINE },
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

static slice truth_text(bool truth) { return truth ? SLICE("1") : SLICE("0"); }

/* RFC 5646 §2.1, as far as its letters. */
static bool is_language_tag(slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = (char)(s.ptr[i] | 32);
        if ((c < 'a' || c > 'z') && (s.ptr[i] < '0' || s.ptr[i] > '9') && s.ptr[i] != '-')
            return false;
    }
    return s.len <= 35;
}

static void put_setting(struct prosody_room *r, const struct room_setting *s,
                        const struct lua_value *v)
{
    int64_t n;
    slice text = room_text(r, v->text, s->kind == AS_LINES);
    bool given = v->type == LUA_STRING || v->type == LUA_NUMBER;
    bool truth = v->type == LUA_BOOLEAN ? v->truth : given;
    if (s->kind == AS_TRUTH || s->kind == AS_FALSE)
        put_pair(r, s->ours, truth_text(truth == (s->kind == AS_TRUTH)));
    else if (s->kind == AS_SUBJECT)
        put_pair(r, s->ours, truth ? SLICE("participant") : SLICE("moderator"));
    else if (s->kind == AS_WHOIS)
        put_pair(r, s->ours, slice_is(text, "anyone") ? text : SLICE("moderators"));
    else if (s->kind == AS_COUNT && slice_int(text, &n) && n >= 0 && n < INT32_MAX)
        put_pair(r, s->ours, text);
    else if (!given || s->kind == AS_COUNT || text.len < v->text.len ||
             (slice_is(slice_of(s->theirs), "language") && !is_language_tag(text)))
        prosody_room_lost(r, "of the configuration:", slice_of(s->theirs));
    else
        put_pair(r, s->ours, room_text_stored(r, text));
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
    buf_init(&text, TEXT_MAX);
    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++) {
        const struct lua_value *v = lua_get(roles, names[i]);
        if (v == NULL || v->type != LUA_BOOLEAN || v->truth)
            buf_printf(&text, "%s,", names[i]);
    }
    put_pair(r, "presence_roles", buf_fit(&text));
    buf_fini(&text);
}

static void put_config(struct prosody_room *r, const struct lua_value *data)
{
    slice password = lua_text(data, "password");
    buf_lit(&r->out, ",\"config\":{\"persistent\":\"1\"");
    put_pair(r, "password", truth_text(password.len > 0 && password.len <= TEXT_MAX));
    for (const struct lua_field *f = data->first; f != NULL; f = f->next) {
        const struct room_setting *s = setting_of(f->key.text);
        if (slice_is(f->key.text, "presence_broadcast") && f->value.type == LUA_TABLE)
            put_presence_roles(r, &f->value);
        else if (s == NULL)
            prosody_room_lost(r, "of the configuration:", f->key.text);
        else if (s->ours != NULL)
            put_setting(r, s, &f->value);
    }
    if (lua_get(data, "hidden") == NULL) /* Prosody stores no default */
        put_pair(r, "listed", SLICE("1"));
    if (lua_get(data, "whois") == NULL)
        put_pair(r, "whois", SLICE("moderators"));
    if (lua_get(data, "changesubject") == NULL)
        put_pair(r, "subject_lowest", SLICE("moderator"));
    buf_lit(&r->out, "}");
}

/* From whom in this room: room, or room/nick. */
static bool is_from_room(const struct prosody_room *r, slice from, struct jid *out,
                         struct arena *tmp)
{
    return jid_parse(out, from, tmp) == OK && slice_eq(jid_bare(out), r->jid);
}

static void put_subject(struct prosody_room *r, const struct lua_value *data)
{
    struct buf xml;
    struct xml_write x;
    struct jid from;
    char stamp[CLOCK_STAMP_LEN];
    slice subject = lua_text(data, "subject"), by = lua_text(data, "subject_from");
    uint64_t at_us = prosody_time_us(lua_text(data, "subject_time"));
    xml_begin(&x, &xml, STANZA_MAX);
    if (subject.len > 0) {
        bool known = is_from_room(r, by, &from, r->user.tmp);
        xml_open_with(&x, "message", NULL, "from", known ? from.full : r->jid);
        xml_attr(&x, "type", SLICE("groupchat"));
        xml_open(&x, "subject", NULL);
        xml_text_clean(&x, subject);
        xml_close(&x);
        if (at_us > 0) {
            clock_stamp(stamp, at_us);
            xml_open_with(&x, "delay", NS_DELAY, "from", r->jid);
            xml_attr(&x, "stamp", slice_of(stamp));
            xml_close(&x);
        }
        xml_close(&x);
    }
    put_pair(r, "subject", utf8_valid(buf_fit(&xml)) ? buf_fit(&xml) : SLICE(""));
    buf_fini(&xml);
}

/* Who is affiliated. */

struct person {
    slice jid, affiliation, nick;
};

/* false: none that is kept. Older versions have a table of them, newer ones the room itself. */
static bool affiliation_read(struct prosody_room *r, const struct lua_value *config,
                             const struct lua_field *f, struct person *out)
{
    struct jid jid;
    if (f->key.type != LUA_STRING || f->value.type != LUA_STRING || f->key.text.len == 0 ||
        f->key.text.ptr[0] == '_' || slice_is(f->key.text, "jid") ||
        slice_is(f->value.text, "none"))
        return false;
    bool fine = jid_parse(&jid, f->key.text, r->user.tmp) == OK && jid_is_bare(&jid);
    bool outcast = slice_is(f->value.text, "outcast");
    if (!fine || (jid_is_domain(&jid) && !outcast) ||
        (!outcast && !slice_is(f->value.text, "owner") && !slice_is(f->value.text, "admin") &&
         !slice_is(f->value.text, "member"))) {
        prosody_room_lost(r, "an affiliation of", f->key.text);
        return false;
    }
    const struct lua_value *more = lua_get(config, "_affiliation_data");
    const char *key = slice_cstr(r->user.tmp, f->key.text);
    slice nick = room_text(r, lua_text(lua_get(more, key), "reserved_nickname"), false);
    *out = (struct person){ jid.full, f->value.text, outcast ? SLICE("") : nick };
    return true;
}

static const struct lua_value *affiliations_of(const struct lua_value *config)
{
    const struct lua_value *people = lua_get(config, "_affiliations");
    return people != NULL && people->type == LUA_TABLE ? people : config;
}

static void put_people(struct prosody_room *r, const struct lua_value *config)
{
    struct person p;
    for (const struct lua_field *f = affiliations_of(config)->first; f != NULL; f = f->next) {
        if (!affiliation_read(r, config, f, &p))
            continue;
        buf_lit(&r->out, "{\"type\":\"affiliation\"");
        put_pair(r, "jid", p.jid);
        put_pair(r, "affiliation", p.affiliation);
        put_pair(r, "nick", p.nick);
        put_pair(r, "reason", SLICE(""));
        buf_lit(&r->out, ",\"follows\":false}\n");
        r->affiliations++;
    }
}

/* The first owner, or the service. */
static slice creator_of(struct prosody_room *r, const struct lua_value *config)
{
    ensure(r->affiliations == 0);
    struct person p;
    unsigned lost = r->lost;
    struct source_lost **last = r->last;
    slice creator = jid_split(r->jid).domain;
    for (const struct lua_field *f = affiliations_of(config)->first; f != NULL; f = f->next)
        if (affiliation_read(r, config, f, &p) && slice_is(p.affiliation, "owner")) {
            creator = p.jid;
            break;
        }
    r->lost = lost; /* they are told once, by put_people() */
    r->last = last;
    *last = NULL;
    return creator;
}

static void put_room(struct prosody_room *r, const struct lua_value *config,
                     const struct lua_value *data)
{
    char stamp[CLOCK_STAMP_LEN];
    char secret[SECRET_LEN];
    struct buf text;
    buf_init(&text, SECRET_TEXT_MAX);
    rand_bytes(secret, sizeof secret);
    base64_encode(&text, (slice){ secret, sizeof secret });
    clock_stamp(stamp, r->now_us);
    buf_lit(&r->out, "{\"type\":\"room\",\"format\":1");
    put_pair(r, "jid", r->jid);
    put_pair(r, "creator", creator_of(r, config));
    put_pair(r, "created", slice_of(stamp));
    put_pair(r, "secret", buf_fit(&text));
    put_config(r, data);
    put_subject(r, data);
    buf_lit(&r->out, "}\n");
    buf_fini(&text);
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

/* false: it has no text, or is from elsewhere. */
static bool room_message(const struct prosody_room *r, const struct lua_value *item,
                         struct buf *out, struct arena *tmp)
{
    struct buf content;
    struct xml_write x;
    struct jid from, author;
    slice by = { 0 };
    const struct lua_value *attr = lua_get(item, "attr");
    if (!is_from_room(r, lua_text(attr, "from"), &from, tmp) || from.resource.len == 0)
        return false;
    buf_init(&content, STANZA_MAX);
    for (const struct lua_field *f = item->first; f != NULL; f = f->next)
        if (f->key.type == LUA_NUMBER && f->value.type == LUA_TABLE &&
            !is_of_archive(&f->value, &by))
            prosody_stanza(&content, &f->value, NULL, (slice){ 0 });
    xml_write_to(&x, out);
    xml_open_with(&x, "message", NULL, "from", from.full);
    if (by.len > 0 && jid_parse(&author, by, tmp) == OK)
        xml_attr(&x, "to", author.full);
    xml_attr_some(&x, "id", lua_text(attr, "id"));
    xml_attr(&x, "type", SLICE("groupchat"));
    xml_attr_some(&x, "xml:lang", lua_text(attr, "xml:lang"));
    xml_raw(&x, buf_fit(&content));
    xml_close(&x);
    bool fine = content.len > 0 && !content.overflow && !out->overflow && utf8_valid(buf_fit(out));
    buf_fini(&content);
    return fine;
}

/* Ids rise; one is at most a day from its time. */
static void put_message(void *arg, const struct lua_value *item)
{
    struct prosody_room *r = arg;
    char stamp[CLOCK_STAMP_LEN];
    struct buf xml;
    uint64_t at_us = prosody_time_us(lua_text(item, "when"));
    if (at_us == 0 || at_us > r->now_us)
        at_us = r->now_us;
    uint64_t id = at_us > r->last_id ? at_us : r->last_id + 1;
    struct arena *tmp = arena_create(0);
    buf_init(&xml, STANZA_MAX);
    bool fine = slice_is(lua_text(item, "name"), "message") && room_message(r, item, &xml, tmp);
    if (fine) {
        clock_stamp(stamp, id - at_us > DAY_US ? id : at_us);
        buf_printf(&r->out, "{\"type\":\"message\",\"id\":%llu", (unsigned long long)id);
        put_pair(r, "at", slice_of(stamp));
        put_pair(r, "stanza", buf_fit(&xml));
        buf_lit(&r->out, "}\n");
        r->last_id = id;
        r->messages++;
    }
    r->others += !fine;
    buf_fini(&xml);
    arena_destroy(&tmp);
    if (r->out.len > WRITE_BYTES)
        prosody_room_flush(r);
}

/* The room. */

static int file_without_name(const char *folder, struct arena *tmp)
{
    if (folder == NULL) {
        errno = ENOENT;
        return -1;
    }
    char *path = arena_printf(tmp, "%s/import-room-XXXXXX", folder);
    int fd = mkostemp(path, O_CLOEXEC);
    if (fd >= 0)
        unlink(path);
    return fd;
}

static void room_write(struct prosody_room *r, const struct lua_value *config,
                       const struct lua_value *data)
{
    ensure(r->fd >= 0 && r->jid.len > 0);
    put_room(r, config, data);
    put_people(r, config);
    prosody_each(&r->user, "muc_log", put_message);
    buf_printf(&r->out, "{\"type\":\"end\",\"affiliations\":%llu,\"messages\":%llu}\n",
               (unsigned long long)r->affiliations, (unsigned long long)r->messages);
    prosody_room_flush(r);
    if (r->others > 0)
        prosody_room_lost(
            r, "entries of the archive that are no messages of occupants: as many as",
            slice_of(arena_printf(r->user.tmp, "%llu", (unsigned long long)r->others)));
    if (r->lost > REASONS_MAX)
        r->lost = REASONS_MAX;
    if (r->error != 0)
        why_set(&r->user.why, "a temporary file cannot be written: %s", strerror(r->error));
}

static const char *room_problem(struct prosody_room *r, const struct lua_value *config)
{
    const struct lua_value *data = lua_get(config, "_data");
    const struct lua_value *persistent = lua_get(data, "persistent");
    struct jid jid;
    slice text = slice_of(arena_printf(r->user.tmp, "%.*s@%.*s", SLICE_ARG(r->found->name),
                                       SLICE_ARG(r->found->host)));
    if (r->user.why.text[0] != '\0')
        return r->user.why.text;
    if (jid_parse(&jid, text, r->user.tmp) != OK || !jid_is_bare(&jid))
        return "its name is none that a room can have (RFC 7622)";
    if (data == NULL || data->type != LUA_TABLE)
        return "its file does not say how it is configured";
    if (persistent == NULL || persistent->type != LUA_BOOLEAN || !persistent->truth)
        return "it is not persistent";
    if (lua_get(data, "destroyed") != NULL)
        return "it was destroyed";
    r->jid = jid.full;
    return NULL;
}

void prosody_room(struct prosody_user *u, struct source_found *out)
{
    struct prosody_room r = { .user = *u, .found = out, .last = &out->lost, .fd = -1 };
    out->host = prosody_name(u->host, u->tmp);
    out->name = prosody_name(u->user, u->tmp);
    out->file = -1;
    r.now_us = clock_wall_us();
    struct lua_value config = prosody_read(&r.user, "config", ".dat");
    const char *problem = room_problem(&r, &config);
    if (problem == NULL && (r.fd = file_without_name(out->folder, u->tmp)) < 0)
        problem = arena_printf(u->tmp, "a temporary file cannot be made: %s", strerror(errno));
    if (problem == NULL) {
        buf_init(&r.out, OUT_MAX);
        room_write(&r, &config, lua_get(&config, "_data"));
        buf_fini(&r.out);
        problem = r.user.why.text[0] != '\0' ? r.user.why.text : NULL;
    }
    if (problem == NULL) {
        out->file = r.fd;
        return;
    }
    if (r.fd >= 0)
        close(r.fd);
    out->text = slice_dup(u->tmp, slice_of(problem));
    ensure(out->text.len > 0);
}
