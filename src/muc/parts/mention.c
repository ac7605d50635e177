/* mention: tells devices that are away of messages that name their user. Members who are not in the
 * room are told (stage PUSH at the home of the account), also when they do not follow the room;
 * nothing is delivered to them. Those who are in it are told on devices whose session hibernates
 * (XEP-0198): the message is in its queue, and nobody knows of it there; and on all devices that
 * are away, if no session of theirs in the room is connected. A mention is a registered nickname,
 * or the localpart of an account of the room's domain, as words of the text, or a reference
 * (XEP-0372 §3.2).
 *
 * Limits: the first TEXT_BYTES of a text and WORDS_MAX words of it are looked at, each by hash, no
 * list is searched; words that normalisation makes longer than muc.nick-bytes are no name;
 * MENTIONED_MAX people a message; who is not in the room, once in AGAIN_MS a room. */
#include "account/account.h"
#include "base/arena.h"
#include "base/ensure.h"
#include "base/setting.h"
#include "codec/xml_elem.h"
#include "core/audience.h"
#include "core/feature.h"
#include "home/fan.h"
#include "home/host.h"
#include "muc/muc.h"
#include "muc/parts.h"
#include "muc/people/affiliation.h"
#include "muc/room/part.h"
#include "muc/room/room.h"
#include "muc/room/settings.h"
#include "talk/message.h"
#include "xmpp/muc.h"
#include "xmpp/nickname.h"
#include "xmpp/ns.h"

#define NS_REFERENCE "urn:xmpp:reference:0"

enum {
    TEXT_BYTES = 4096,
    WORDS_MAX = 128,
    RUN_MAX = 3, /* words of a nickname that is found in a text */
    MENTIONED_MAX = 32,
    AGAIN_MS = 60 * 1000
};

static struct setting mention_push = {
    .name = "muc.mention-push",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BOOL,
    .def = 1,
    .doc =
        "Push services of members (XEP-0357) are told when somebody mentions them in a room that "
        "they are not in: by nickname, name or reference (XEP-0372). Once a minute and room.",
};

/* Data of an affiliate. */
struct mentioned {
    uint32_t told_ms; /* monotonic: when the devices were last told; 0: never */
};
static unsigned mentioned_at;

/* The number of each address of the fan: where its user is. */
enum mention_where { MENTION_AWAY = 0, MENTION_HERE = 1 };

struct search {
    struct room *room;
    struct arena *tmp;
    slice domain, speaker;
    struct fan fan;
    uint32_t now_ms;
    unsigned found;
};

static void mention_found(struct search *s, struct affiliate *a)
{
    if (a == NULL || a->follows || a->affiliation < AFF_MEMBER || slice_eq(a->jid, s->speaker) ||
        s->found == MENTIONED_MAX)
        return;
    struct mentioned *m = affiliate_memory(a, mentioned_at);
    if (a->here == 0 && m->told_ms != 0 && s->now_ms - m->told_ms < AGAIN_MS)
        return;
    if (a->here == 0)
        m->told_ms = s->now_ms;
    s->found++;
    fan_add_with(&s->fan, a->jid, a->here > 0 ? MENTION_HERE : MENTION_AWAY);
}

static slice mention_account(const struct search *s, slice local)
{
    return slice_of(arena_printf(s->tmp, "%.*s@%.*s", SLICE_ARG(local), SLICE_ARG(s->domain)));
}

static void mention_look_up(struct search *s, slice text)
{
    slice nick;
    size_t most = (size_t)setting_int(&muc_nick_bytes);
    if (text.len == 0 || text.len > most ||
        nickname_enforce_within(text, most, s->tmp, &nick) != OK)
        return;
    slice key = nickname_key(nick, s->tmp);
    struct affiliate *a = room_reserved(s->room, key);
    mention_found(s, a != NULL ? a : room_affiliate(s->room, mention_account(s, key)));
}

static bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

static bool mention_is_letter(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (unsigned char)c >= 0x80;
}

/* The next word without punctuation around it: "(@Bob," gives "Bob". false: the text ends. */
static bool next_word(slice *rest, slice *word)
{
    while (rest->len > 0 && is_space(*rest->ptr))
        *rest = slice_from(*rest, 1);
    *word = *rest;
    while (rest->len > 0 && !is_space(*rest->ptr))
        *rest = slice_from(*rest, 1);
    word->len -= rest->len;
    bool any = word->len > 0;
    while (word->len > 0 && !mention_is_letter(*word->ptr))
        *word = slice_from(*word, 1);
    while (word->len > 0 && !mention_is_letter(word->ptr[word->len - 1]))
        word->len--;
    return any;
}

static void search_text(struct search *s, slice text)
{
    slice first[RUN_MAX] = { 0 }, word; /* the last words */
    if (text.len > TEXT_BYTES)
        text.len = TEXT_BYTES;
    for (unsigned n = 0; n < WORDS_MAX && s->found < MENTIONED_MAX && next_word(&text, &word);
         n++) {
        memmove(first + 1, first, (RUN_MAX - 1) * sizeof *first);
        first[0] = word;
        for (unsigned run = 0; run < RUN_MAX && word.len > 0 && first[run].len > 0; run++)
            mention_look_up(
                s, (slice){ first[run].ptr, (size_t)(word.ptr + word.len - first[run].ptr) });
    }
}

static int mention_digit(char c)
{
    static const char digits[] = "0123456789abcdef";
    const char *at = memchr(digits, c | 0x20, sizeof digits - 1);
    return at == NULL ? -1 : (int)(at - digits);
}

/* The path of an XMPP URI (RFC 5122 §2.2) without percent-encoding. */
static slice mention_decode(struct arena *tmp, slice path)
{
    char *out = arena_new(tmp, char, path.len + 1);
    size_t n = 0;
    for (size_t i = 0; i < path.len; i++) {
        bool coded = path.ptr[i] == '%' && i + 2 < path.len &&
                     mention_digit(path.ptr[i + 1]) >= 0 && mention_digit(path.ptr[i + 2]) >= 0;
        out[n++] =
            coded ? (char)(mention_digit(path.ptr[i + 1]) * 16 + mention_digit(path.ptr[i + 2]))
                  : path.ptr[i];
        i += coded ? 2 : 0;
    }
    return (slice){ out, n };
}

/* By the real address, or by that in the room. */
static void reference(struct search *s, const struct elem *e)
{
    slice uri = elem_attr(e, "uri", s->tmp), rest;
    struct jid jid;
    if (!slice_is(elem_attr_raw(e, "type"), "mention") || !slice_starts(uri, SLICE("xmpp:")))
        return;
    slice_cut(slice_from(uri, 5), '?', &uri, &rest);
    if (jid_parse(&jid, mention_decode(s->tmp, uri), s->tmp) != OK)
        return;
    if (slice_eq(jid_bare(&jid), s->room->jid))
        mention_look_up(s, jid.resource);
    else
        mention_found(s, room_affiliate(s->room, jid_bare(&jid)));
}

static void search_references(struct search *s, const struct stanza *st)
{
    for (unsigned i = 0; stanza_has(st, KNOWN(PAYLOAD)) && i < st->child_count; i++) {
        struct elem e;
        if (st->child[i].known == KNOWN_PAYLOAD &&
            elem_parse_within(&e, (slice){ st->content + st->child[i].at, st->child[i].len },
                              SLICE(NS_CLIENT), (slice){ st->other, st->other_len }) &&
            elem_is(&e, "reference", NS_REFERENCE))
            reference(s, &e);
    }
}

static void mention_said(struct room *r, const struct room_said *said)
{
    struct stanza *st = said->st;
    if (!said->kept || r->affiliates.count <= 1)
        return;
    slice domain = jid_split(r->jid).domain;
    struct search s = { .room = r, .tmp = room_scratch(r), .speaker = said->speaker };
    if (!setting_bool(&mention_push) || !stanza_has(st, KNOWN(BODY)))
        return;
    host_find(room_node(r), domain, &s.domain);
    s.now_ms = (uint32_t)(loop_now_us(room_loop(r)) / 1000);
    fan_begin(&s.fan, r->worker, st, FAN_TAG(FAN_ROOM_MENTION));
    search_references(&s, st);
    if (!stanza_has(st, KNOWN(ENCRYPTED)))
        search_text(&s, stanza_child_text(st, KNOWN_BODY, s.tmp));
    fan_end(&s.fan);
}

/* At the home of who was mentioned. */

static void alert(struct account *a, struct stanza *st, enum mention_where where)
{
    struct stanza *own = stanza_readdress(st, (slice){ 0 }, a->jid);
    if (where == MENTION_HERE && audience_reads(a, stanza_from_bare(st)))
        message_alert_dormant(a, own);
    else
        message_alert(a, own);
    stanza_unref(&own);
}

static void mention_loaded(struct account *a, enum err e, void *arg)
{
    struct stanza *st = arg;
    ensure(account_here(a) && st != NULL);
    if (e == OK)
        alert(a, st, MENTION_AWAY);
    stanza_unref(&st);
}

static void mention_arrived(struct worker *w, slice bare, uint32_t number, struct stanza *st,
                            slice tag)
{
    struct account *a = account_find(w, bare);
    (void)tag;
    if (a != NULL)
        alert(a, st, (enum mention_where)number);
    else /* without sessions */
        account_with(w, bare, mention_loaded, stanza_ref(st));
}

const struct feature muc_mention_feature = {
    .name = "muc_mention",
    .parts = PART_ROOM,
    .xeps = (const struct xep[]){ { "0372", "0.1", "References", "0.1.0", "rooms/test_follow",
                                    "what a room makes of mentions" },
                                  { 0 } },
    .settings = (struct setting *const[]){ &mention_push, NULL },
    .fans = (const struct fan_tag[]){ { FAN_ROOM_MENTION, mention_arrived }, { 0 } },
};

const struct room_part mention_part = {
    .name = "mention",
    .in_affiliates = &(const struct affiliate_memory){ sizeof(struct mentioned), &mentioned_at },
    .said = mention_said,
};
