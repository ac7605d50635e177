#include "convert/room.h"
#include "base/arena.h"
#include "base/base64.h"
#include "base/clock.h"
#include "base/ensure.h"
#include "base/rand.h"
#include "base/utf8.h"
#include "codec/json_text.h"
#include "codec/xml_write.h"
#include "xmpp/jid.h"
#include "xmpp/ns.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    WRITE_BYTES = 1 << 20,
    OUT_MAX = 2 * WRITE_BYTES + (16 << 20),
    SECRET_LEN = 32,
    SECRET_TEXT_MAX = 64,
    LANGUAGE_MAX = 35
};
#define DAY_US 86400000000ull

void room_writer_lost(struct room_writer *r, const char *what, slice which)
{
    if (r->lost_count++ >= ROOM_REASONS_MAX)
        return;
    struct text_list *l = arena_new(r->tmp, struct text_list, 1);
    which.len = utf8_valid_len(which);
    l->text = slice_of(
        arena_printf(r->tmp, "%s%s%.*s", what, which.len > 0 ? " " : "", SLICE_ARG(which)));
    *r->last = l;
    r->last = &l->next;
}

static void room_writer_flush(struct room_writer *r)
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

const char *room_writer_begin(struct room_writer *r, struct output *o, slice name, slice host,
                              struct arena *tmp)
{
    struct jid jid;
    *r = (struct room_writer){
        .output = o, .tmp = tmp, .name = name, .host = host, .fd = -1, .now_us = clock_wall_us()
    };
    r->last = &r->lost;
    buf_init(&r->out, OUT_MAX);
    slice text = slice_of(arena_printf(tmp, "%.*s@%.*s", SLICE_ARG(name), SLICE_ARG(host)));
    if (jid_parse(&jid, text, tmp) != OK || !jid_is_bare(&jid))
        return "its name is none that a room can have (RFC 7622)";
    r->jid = jid.full;
    r->file = arena_printf(tmp, "rooms/%llu.jsonl", (unsigned long long)o->rooms + 1);
    r->fd = open(arena_printf(tmp, "%s/%s", o->folder, r->file),
                 O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    r->error = r->fd >= 0 ? 0 : errno;
    return r->fd >= 0 ? NULL : "its file cannot be written";
}

static void put_pair(struct room_writer *r, const char *key, slice value)
{
    ensure(utf8_valid(value));
    buf_printf(&r->out, ",\"%s\":", key);
    json_text(&r->out, value);
}

void room_writer_config(struct room_writer *r, slice creator)
{
    char stamp[CLOCK_STAMP_LEN], secret[SECRET_LEN];
    struct buf text;
    ensure(r->fd >= 0 && r->out.len == 0 && r->affiliations == 0);
    buf_init(&text, SECRET_TEXT_MAX);
    rand_bytes(secret, sizeof secret);
    base64_encode(&text, (slice){ secret, sizeof secret });
    clock_stamp(stamp, r->now_us);
    buf_lit(&r->out, "{\"type\":\"room\",\"format\":1");
    put_pair(r, "jid", r->jid);
    put_pair(r, "creator", creator.len > 0 ? creator : jid_split(r->jid).domain);
    put_pair(r, "created", slice_of(stamp));
    put_pair(r, "secret", buf_fit(&text));
    buf_lit(&r->out, ",\"config\":{\"persistent\":\"1\"");
    buf_fini(&text);
}

void room_writer_truth(struct room_writer *r, const char *key, bool truth)
{
    put_pair(r, key, truth ? SLICE("1") : SLICE("0"));
}

void room_writer_word(struct room_writer *r, const char *key, slice word)
{
    put_pair(r, key, word);
}

void room_writer_roles(struct room_writer *r, const char *key, room_has_role *has, const void *arg)
{
    static const char *const roles[] = { "visitor", "participant", "moderator" };
    struct buf text;
    buf_init(&text, ROOM_TEXT_MAX);
    for (unsigned i = 0; i < sizeof roles / sizeof roles[0]; i++)
        if (has(arg, roles[i]))
            buf_printf(&text, "%s,", roles[i]);
    put_pair(r, key, buf_fit(&text));
    buf_fini(&text);
}

/* Cut to what a text of the configuration may have, without control characters. */
static slice room_writer_clean(struct room_writer *r, slice text, bool lines)
{
    slice s = utf8_head(text, ROOM_TEXT_MAX);
    char *clean = arena_alloc_raw(r->tmp, s.len + 1);
    for (size_t i = 0; i < s.len; i++) {
        bool plain = (unsigned char)s.ptr[i] >= ' ' || (lines && s.ptr[i] == '\n');
        clean[i] = plain ? s.ptr[i] : ' ';
    }
    return (slice){ clean, s.len };
}

/* As it is stored: in one line, with \n and \\. */
static slice room_text_stored(struct room_writer *r, slice text)
{
    char *out = arena_alloc_raw(r->tmp, 2 * text.len + 1);
    size_t n = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] == '\n' || text.ptr[i] == '\\')
            out[n++] = '\\';
        out[n++] = text.ptr[i] == '\n' ? 'n' : text.ptr[i];
    }
    return (slice){ out, n };
}

/* RFC 5646 §2.1, as far as its letters. */
static bool is_language_tag(slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = (char)(s.ptr[i] | 32);
        if ((c < 'a' || c > 'z') && (s.ptr[i] < '0' || s.ptr[i] > '9') && s.ptr[i] != '-')
            return false;
    }
    return s.len <= LANGUAGE_MAX;
}

/* false: it cannot be stored. */
static bool put_text(struct room_writer *r, const struct room_setting *s, slice text)
{
    int64_t n;
    slice clean = room_writer_clean(r, text, s->kind == ROOM_LINES);
    bool fine = clean.len == text.len;
    if (s->kind == ROOM_COUNT)
        fine = slice_is(text, "none") || (slice_int(text, &n) && n >= 0 && n < INT32_MAX);
    if (s->kind == ROOM_LANGUAGE)
        fine = fine && is_language_tag(text);
    if (fine)
        put_pair(r, s->ours, s->kind == ROOM_COUNT ? text : room_text_stored(r, clean));
    return fine;
}

void room_writer_setting(struct room_writer *r, const struct room_setting *table, slice theirs,
                         const struct room_value *v)
{
    static const char *const words[][2] = { [ROOM_WHOIS] = { "anyone", "moderators" },
                                            [ROOM_SUBJECT] = { "moderator", "participant" },
                                            [ROOM_PRIVATE] = { "none", "anyone" } };
    const struct room_setting *s = table;
    bool lost = false;
    while (s->theirs != NULL && !slice_is(theirs, s->theirs))
        s++;
    if (s->theirs == NULL)
        lost = true;
    else if (s->kind <= ROOM_COUNT)
        lost = !v->given || !put_text(r, s, v->text);
    else if (s->kind == ROOM_TRUTH || s->kind == ROOM_FALSE)
        room_writer_truth(r, s->ours, v->truth == (s->kind == ROOM_TRUTH));
    else if (s->kind <= ROOM_PRIVATE)
        room_writer_word(r, s->ours, slice_of(words[s->kind][v->truth]));
    else if (s->kind == ROOM_OFF)
        lost = v->truth;
    else if (s->kind == ROOM_NONE)
        output_lost(r->output, r->jid, 1, "settings %s of rooms", s->theirs);
    if (lost)
        room_writer_lost(r, "of the configuration:", theirs);
}

/* The address in the room, prepared. false: it is none. */
static bool room_address(const struct room_writer *r, slice text, slice *out, struct arena *tmp)
{
    struct jid jid;
    if (jid_parse(&jid, text, tmp) != OK || !slice_eq(jid_bare(&jid), r->jid))
        return false;
    *out = jid.full;
    return true;
}

void room_writer_subject(struct room_writer *r, slice subject, slice from, uint64_t at_us)
{
    struct buf xml;
    struct xml_write x;
    slice full;
    ensure(r->out.len > 0 && r->affiliations == 0);
    xml_begin(&x, &xml, ROOM_STANZA_MAX);
    if (subject.len > 0) {
        bool known = room_address(r, from, &full, r->tmp);
        xml_open_with(&x, "message", NULL, "from", known ? full : r->jid);
        xml_attr(&x, "type", SLICE("groupchat"));
        xml_open(&x, "subject", NULL);
        xml_text_clean(&x, subject);
        xml_close(&x);
        write_delay(&x, at_us, r->jid);
        xml_close(&x);
    }
    if (xml.overflow)
        room_writer_lost(r, "the subject, because it is longer than 4 MiB", (slice){ 0 });
    buf_lit(&r->out, "}");
    put_pair(r, "subject", utf8_valid(buf_fit(&xml)) ? buf_fit(&xml) : SLICE(""));
    buf_lit(&r->out, "}\n");
    buf_fini(&xml);
}

bool room_writer_may(struct room_writer *r, slice who, slice affiliation, slice *out)
{
    struct jid jid;
    bool outcast = slice_is(affiliation, "outcast");
    if (jid_parse(&jid, who, r->tmp) != OK || !jid_is_bare(&jid) ||
        (jid_is_domain(&jid) && !outcast))
        return false;
    *out = jid.full;
    return outcast || slice_is(affiliation, "owner") || slice_is(affiliation, "admin") ||
           slice_is(affiliation, "member");
}

void room_writer_affiliation(struct room_writer *r, slice jid, slice affiliation, slice nick,
                             slice reason)
{
    bool outcast = slice_is(affiliation, "outcast");
    ensure(r->fd >= 0 && jid.len > 0 && r->messages == 0);
    buf_lit(&r->out, "{\"type\":\"affiliation\"");
    put_pair(r, "jid", jid);
    put_pair(r, "affiliation", affiliation);
    put_pair(r, "nick", outcast ? SLICE("") : room_writer_clean(r, nick, false));
    put_pair(r, "reason", room_writer_clean(r, reason, false));
    buf_lit(&r->out, ",\"follows\":false}\n");
    r->affiliations++;
    if (r->out.len > WRITE_BYTES)
        room_writer_flush(r);
}

/* Ids rise; one is at most a day from its time. */
static void room_writer_put(struct room_writer *r, slice stanza, uint64_t at_us)
{
    char stamp[CLOCK_STAMP_LEN];
    if (at_us == 0 || at_us > r->now_us)
        at_us = r->now_us;
    uint64_t id = at_us > r->last_id ? at_us : r->last_id + 1;
    clock_stamp(stamp, id - at_us > DAY_US ? id : at_us);
    buf_printf(&r->out, "{\"type\":\"message\",\"id\":%llu", (unsigned long long)id);
    put_pair(r, "at", slice_of(stamp));
    put_pair(r, "stanza", stanza);
    buf_lit(&r->out, "}\n");
    r->last_id = id;
    r->messages++;
    if (r->out.len > WRITE_BYTES)
        room_writer_flush(r);
}

/* The stanza as room_line.h has it: `to` is who said it. */
static void room_writer_stanza(struct xml_write *x, const struct room_said *said, slice from,
                               struct arena *tmp)
{
    struct jid author;
    xml_open_with(x, "message", NULL, "from", from);
    if (said->author.len > 0 && jid_parse(&author, said->author, tmp) == OK)
        xml_attr(x, "to", author.full);
    xml_attr_some(x, "id", said->id);
    xml_attr(x, "type", SLICE("groupchat"));
    xml_attr_some(x, "xml:lang", said->lang);
    xml_raw(x, said->content);
    xml_close(x);
}

void room_writer_said(struct room_writer *r, const struct room_said *said, struct arena *tmp)
{
    struct buf xml;
    struct xml_write x;
    slice from;
    ensure(r->fd >= 0 && r->jid.len > 0);
    if (said->content.len == 0 || !room_address(r, said->from, &from, tmp) ||
        slice_eq(from, r->jid)) {
        r->others++;
        return;
    }
    xml_begin(&x, &xml, ROOM_STANZA_MAX);
    room_writer_stanza(&x, said, from, tmp);
    if (xml.overflow || !utf8_valid(buf_fit(&xml)))
        r->others++;
    else
        room_writer_put(r, buf_fit(&xml), said->at_us);
    buf_fini(&xml);
}

static void room_writer_tell(struct room_writer *r, const char *problem)
{
    struct output *o = r->output;
    output_line(o, "room");
    output_put(o, "name", r->name);
    output_put(o, "host", r->host);
    if (problem != NULL)
        output_put(o, "refused", slice_of(problem));
    else
        output_put(o, "file", slice_of(r->file));
    output_list(o, "lost", r->lost);
    output_end(o);
    o->rooms++;
    o->refused += problem != NULL;
}

void room_writer_end(struct room_writer *r, const char *problem)
{
    if (problem == NULL) {
        buf_printf(&r->out, "{\"type\":\"end\",\"affiliations\":%llu,\"messages\":%llu}\n",
                   (unsigned long long)r->affiliations, (unsigned long long)r->messages);
        room_writer_flush(r);
        if (r->others > 0)
            room_writer_lost(
                r,
                "entries of the archive that are no messages of occupants, or are longer than 4 "
                "MiB: as many as",
                slice_of(arena_printf(r->tmp, "%llu", (unsigned long long)r->others)));
        if (r->lost_count > ROOM_REASONS_MAX)
            output_lost(r->output, r->jid, r->lost_count - ROOM_REASONS_MAX,
                        "more settings and affiliations of a room");
    }
    if (r->fd >= 0)
        close(r->fd);
    if (r->fd >= 0 && problem != NULL)
        unlink(arena_printf(r->tmp, "%s/%s", r->output->folder, r->file));
    if (r->error != 0)
        r->output->error = r->error;
    room_writer_tell(r, problem);
    buf_fini(&r->out);
}
