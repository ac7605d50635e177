#include "muc/room/room_line.h"
#include "base/base64.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/utf8.h"
#include "codec/xml_elem.h"
#include "codec/xml_read.h"
#include "codec/xml_write.h"
#include "muc/room/config.h"
#include "muc/room/config_form.h"
#include "xmpp/datetime.h"
#include "xmpp/jid.h"
#include "xmpp/nickname.h"
#include "xmpp/ns.h"
#include "xmpp/stanza.h"
#include <jansson.h>

enum { SHOWN_MAX = 60, CARD_BYTES_MAX = 1 << 20, SECRET_BYTES_MAX = 2 * OCCUPANT_SECRET_LEN };

static const char *const types[] = { "room", "affiliation", "hat", "card", "message", "end" };

/* Writing. */

static int room_line_put(const char *text, size_t len, void *out)
{
    buf_append(out, text, len);
    return 0;
}

static void room_line_set_text(json_t *o, const char *key, slice text)
{
    json_object_set_new(o, key, json_stringn(text.len == 0 ? "" : text.ptr, text.len));
}

static void set_time(json_t *o, const char *key, uint64_t us)
{
    char stamp[CLOCK_STAMP_LEN];
    clock_stamp(stamp, us);
    json_object_set_new(o, key, json_string(stamp));
}

static void set_config(json_t *o, slice stored)
{
    json_t *config = json_object();
    slice line, name, value;
    while (slice_cut(stored, '\n', &line, &stored))
        if (slice_cut(line, '=', &name, &value)) {
            char key[64];
            snprintf(key, sizeof key, "%.*s", SLICE_ARG(name));
            room_line_set_text(config, key, value);
        }
    json_object_set_new(o, "config", config);
}

static void set_room(json_t *o, const struct room_line *l)
{
    struct buf secret;
    buf_init(&secret, SECRET_BYTES_MAX);
    base64_encode(&secret, (slice){ (const char *)l->secret, sizeof l->secret });
    json_object_set_new(o, "format", json_integer(ROOM_LINE_FORMAT));
    room_line_set_text(o, "jid", l->jid);
    room_line_set_text(o, "creator", l->creator);
    set_time(o, "created", l->at_us);
    room_line_set_text(o, "secret", buf_fit(&secret));
    set_config(o, l->config);
    room_line_set_text(o, "subject", l->subject);
    buf_fini(&secret);
}

static void set_affiliation(json_t *o, const struct room_line *l)
{
    room_line_set_text(o, "jid", l->jid);
    room_line_set_text(o, "affiliation", affiliation_name(l->affiliation));
    room_line_set_text(o, "nick", l->nick);
    room_line_set_text(o, "reason", l->reason);
    json_object_set_new(o, "follows", json_boolean(l->follows));
}

static bool room_line_is_text(const struct room_line *l)
{
    return utf8_valid(l->jid) && utf8_valid(l->creator) && utf8_valid(l->config) &&
           utf8_valid(l->subject) && utf8_valid(l->nick) && utf8_valid(l->reason) &&
           utf8_valid(l->stanza) && utf8_valid(l->uri) && utf8_valid(l->title) &&
           utf8_valid(l->card);
}

bool room_line_write(struct buf *out, const struct room_line *l)
{
    if (!room_line_is_text(l))
        return false;
    json_t *o = json_object();
    json_object_set_new(o, "type", json_string(types[l->type]));
    switch (l->type) {
    case LINE_ROOM:
        set_room(o, l);
        break;
    case LINE_AFFILIATION:
        set_affiliation(o, l);
        break;
    case LINE_HAT:
        room_line_set_text(o, "jid", l->jid);
        room_line_set_text(o, "uri", l->uri);
        room_line_set_text(o, "title", l->title);
        break;
    case LINE_CARD:
        room_line_set_text(o, "vcard", l->card);
        break;
    case LINE_MESSAGE:
        json_object_set_new(o, "id", json_integer((json_int_t)l->id));
        set_time(o, "at", l->at_us);
        room_line_set_text(o, "stanza", l->stanza);
        break;
    case LINE_END:
        json_object_set_new(o, "affiliations", json_integer((json_int_t)l->affiliations));
        json_object_set_new(o, "messages", json_integer((json_int_t)l->messages));
        break;
    }
    json_dump_callback(o, room_line_put, out, JSON_COMPACT);
    json_decref(o);
    buf_lit(out, "\n");
    return true;
}

/* Reading. */

struct reading {
    json_t *o;
    struct xml_work *work;
    struct arena *tmp;
    struct why *why;
};

/* Enough to know it by. */
static slice room_line_shown(slice text) { return utf8_head(text, SHOWN_MAX); }

static bool room_line_wrong(const struct reading *r, const char *key, const char *allowed)
{
    const json_t *v = json_object_get(r->o, key);
    slice text = SLICE("another kind of value");
    if (json_is_string(v))
        text = room_line_shown((slice){ json_string_value(v), json_string_length(v) });
    if (v == NULL)
        why_set(r->why, "\"%s\" is missing", key);
    else
        why_set(r->why, "\"%s\": found %.*s, allowed: %s", key, SLICE_ARG(text), allowed);
    return false;
}

static bool room_line_get_text(const struct reading *r, const char *key, slice *out)
{
    const json_t *v = json_object_get(r->o, key);
    if (!json_is_string(v))
        return room_line_wrong(r, key, "a text");
    *out = slice_dup(r->tmp, (slice){ json_string_value(v), json_string_length(v) });
    return true;
}

/* A text that becomes part of XML. */
static bool get_clean(const struct reading *r, const char *key, size_t max, slice *out)
{
    if (!room_line_get_text(r, key, out))
        return false;
    if (!xml_is_text(*out))
        return room_line_wrong(r, key, "a text without control characters");
    return out->len <= max ? true : room_line_wrong(r, key, "a shorter text");
}

static bool get_count(const struct reading *r, const char *key, uint64_t *out)
{
    const json_t *v = json_object_get(r->o, key);
    if (!json_is_integer(v) || json_integer_value(v) < 0)
        return room_line_wrong(r, key, "a number from 0");
    *out = (uint64_t)json_integer_value(v);
    return true;
}

static bool get_time(const struct reading *r, const char *key, uint64_t *out)
{
    slice text;
    int64_t us;
    if (!room_line_get_text(r, key, &text))
        return false;
    if (!datetime_parse(text, &us) || us <= 0)
        return room_line_wrong(r, key, "a time such as 2026-11-20T09:15:36.123456Z");
    *out = (uint64_t)us;
    return true;
}

/* Prepared, without resource; a domain only if `domains` says so. */
static bool get_jid(const struct reading *r, const char *key, const char *allowed, slice *out)
{
    struct jid jid;
    if (!room_line_get_text(r, key, out))
        return false;
    return jid_parse(&jid, *out, r->tmp) == OK && slice_eq(jid.full, *out) && jid_is_bare(&jid)
               ? true
               : room_line_wrong(r, key, allowed);
}

static bool room_line_is_address(slice jid) { return memchr(jid.ptr, '@', jid.len) != NULL; }

static bool room_line_get_secret(const struct reading *r, uint8_t out[OCCUPANT_SECRET_LEN])
{
    struct buf bytes;
    slice text;
    if (!room_line_get_text(r, "secret", &text))
        return false;
    buf_init(&bytes, SECRET_BYTES_MAX);
    bool right = base64_decode(&bytes, text) == OK && bytes.len == OCCUPANT_SECRET_LEN;
    if (right)
        memcpy(out, bytes.ptr, OCCUPANT_SECRET_LEN);
    buf_fini(&bytes);
    return right ? true : room_line_wrong(r, "secret", "32 bytes in base64");
}

/* Whether the line "name=value" is one of those. */
static bool has_line(slice stored, slice wanted)
{
    slice line;
    while (slice_cut(stored, '\n', &line, &stored))
        if (slice_eq(line, wanted))
            return true;
    return false;
}

/* What it says is what it would be stored as, and it says nothing else. */
static bool config_is_right(const struct reading *r, slice text)
{
    slice rest = text;
    bool right = true;
    struct room_config c;
    room_config_load(&c, text, r->tmp);
    struct buf stored;
    buf_init(&stored, ROOM_STORED_MAX);
    room_config_store(&stored, &c);
    slice line;
    while (right && slice_cut(rest, '\n', &line, &rest))
        if (!has_line(buf_fit(&stored), line)) {
            line = room_line_shown(line);
            why_set(r->why, "\"config\": found %.*s, allowed: the values of a configuration",
                    SLICE_ARG(line));
            right = false;
        }
    buf_fini(&stored);
    return right;
}

static bool get_config(const struct reading *r, slice *out)
{
    json_t *o = json_object_get(r->o, "config");
    bool right = json_is_object(o);
    struct buf text;
    buf_init(&text, ROOM_STORED_MAX);
    const char *key;
    const json_t *value;
    json_object_foreach(o, key, value)
    {
        if (!json_is_string(value) || strpbrk(key, "=\n") != NULL ||
            strchr(json_string_value(value), '\n') != NULL)
            right = false;
        else
            buf_printf(&text, "%s=%s\n", key, json_string_value(value));
    }
    right = right && !text.overflow;
    *out = slice_dup(r->tmp, buf_slice(&text));
    buf_fini(&text);
    if (!right)
        return room_line_wrong(r, "config", "an object of texts");
    return config_is_right(r, *out);
}

bool room_line_is_presence(slice stanza) { return slice_starts(stanza, SLICE("<presence")); }

/* A message, or presence of who came or went; `sender` gets the bare JID of its `to`. */
static bool is_recorded(const struct reading *r, slice text, slice *from, slice *sender)
{
    struct stanza *st;
    if (stanza_load(&st, text, r->work, r->tmp) != OK)
        return false;
    /* one more is added when it is sent */
    bool moves =
        st->kind == STANZA_PRESENCE && (st->type == TYPE_AVAILABLE || st->type == TYPE_UNAVAILABLE);
    bool right =
        (st->kind == STANZA_MESSAGE || moves) && !st->bad_to && st->child_count < XML_CHILDREN_MAX;
    *from = slice_dup(r->tmp, stanza_from_bare(st));
    *sender = slice_dup(r->tmp, stanza_to_bare(st));
    stanza_unref(&st);
    return right;
}

static bool room_line_read_room(const struct reading *r, struct room_line *l)
{
    uint64_t format;
    slice from, sender;
    if (!get_count(r, "format", &format))
        return false;
    if (format != ROOM_LINE_FORMAT)
        return room_line_wrong(r, "format", "1; a newer server wrote this file");
    if (!get_jid(r, "jid", "the address of a room", &l->jid))
        return false;
    if (!room_line_is_address(l->jid))
        return room_line_wrong(r, "jid", "the address of a room");
    if (!get_jid(r, "creator", "a bare address", &l->creator) ||
        !get_time(r, "created", &l->at_us) || !room_line_get_secret(r, l->secret) ||
        !get_config(r, &l->config) || !room_line_get_text(r, "subject", &l->subject))
        return false;
    if (l->subject.len > 0 && (!is_recorded(r, l->subject, &from, &sender) ||
                               !slice_eq(from, l->jid) || room_line_is_presence(l->subject)))
        return room_line_wrong(r, "subject", "a message from the room");
    return true;
}

static bool room_line_read_affiliation(const struct reading *r, struct room_line *l)
{
    const json_t *follows = json_object_get(r->o, "follows");
    slice name, nick;
    if (!get_jid(r, "jid", "a bare address", &l->jid) ||
        !room_line_get_text(r, "affiliation", &name) ||
        !get_clean(r, "nick", JID_PART_MAX, &l->nick) ||
        !get_clean(r, "reason", ROOM_LINE_TEXT_MAX, &l->reason))
        return false;
    if (!affiliation_of(name, &l->affiliation) || l->affiliation == AFF_NONE)
        return room_line_wrong(r, "affiliation", "owner, admin, member or outcast");
    if (l->affiliation != AFF_OUTCAST && !room_line_is_address(l->jid))
        return room_line_wrong(r, "jid", "an address name@domain");
    if (l->nick.len > 0 &&
        (nickname_enforce(l->nick, r->tmp, &nick) != OK || !slice_eq(nick, l->nick)))
        return room_line_wrong(r, "nick", "a nickname");
    if (!json_is_boolean(follows))
        return room_line_wrong(r, "follows", "true or false");
    l->follows = json_is_true(follows);
    return true;
}

/* Without an address: one to choose from. */
static bool read_hat(const struct reading *r, struct room_line *l)
{
    return room_line_get_text(r, "jid", &l->jid) &&
           (l->jid.len == 0 || get_jid(r, "jid", "a bare address", &l->jid)) &&
           get_clean(r, "uri", JID_PART_MAX, &l->uri) &&
           get_clean(r, "title", JID_PART_MAX, &l->title);
}

/* Well-formed: it is sent as it is. */
static bool room_line_read_card(const struct reading *r, struct room_line *l)
{
    static const struct xml_limits limits = {
        .unit_bytes = CARD_BYTES_MAX, .depth = UINT16_MAX, .attrs = UINT16_MAX, .name_bytes = 4096
    };
    if (!room_line_get_text(r, "vcard", &l->card))
        return false;
    return xml_read_element(r->work, l->card, SLICE(NS_CLIENT), &limits) == OK
               ? true
               : room_line_wrong(r, "vcard", "an XML element");
}

static bool read_message(const struct reading *r, struct room_line *l)
{
    if (!get_count(r, "id", &l->id) || !get_time(r, "at", &l->at_us) ||
        !room_line_get_text(r, "stanza", &l->stanza))
        return false;
    if (l->id == 0 || l->id > INT64_MAX / 2)
        return room_line_wrong(r, "id", "an archive id");
    if (!is_recorded(r, l->stanza, &l->jid, &l->sender))
        return room_line_wrong(r, "stanza",
                               "a message, or presence of somebody who enters or leaves");
    return true;
}

static bool read_rest(const struct reading *r, struct room_line *l)
{
    switch (l->type) {
    case LINE_ROOM:
        return room_line_read_room(r, l);
    case LINE_AFFILIATION:
        return room_line_read_affiliation(r, l);
    case LINE_HAT:
        return read_hat(r, l);
    case LINE_CARD:
        return room_line_read_card(r, l);
    case LINE_MESSAGE:
        return read_message(r, l);
    case LINE_END:
        return get_count(r, "affiliations", &l->affiliations) &&
               get_count(r, "messages", &l->messages);
    }
    return false;
}

static bool room_line_read_line(const struct reading *r, struct room_line *l)
{
    slice type;
    if (!room_line_get_text(r, "type", &type))
        return false;
    for (unsigned i = 0; i < sizeof types / sizeof types[0]; i++)
        if (slice_is(type, types[i])) {
            l->type = (enum room_line_type)i;
            return read_rest(r, l);
        }
    return room_line_wrong(r, "type", "room, affiliation, hat, card, message or end");
}

enum err room_line_read(struct room_line *out, slice line, struct xml_work *work, struct arena *tmp,
                        struct why *why)
{
    json_error_t error;
    struct reading r = { json_loadb(line.ptr, line.len, JSON_REJECT_DUPLICATES, &error), work, tmp,
                         why };
    *out = (struct room_line){ 0 };
    if (!json_is_object(r.o)) {
        why_set(why, "found a line that is no JSON object");
        json_decref(r.o);
        return E_SYNTAX;
    }
    bool right = room_line_read_line(&r, out);
    json_decref(r.o);
    return right ? OK : E_SYNTAX;
}
