/* room_line: a room as lines of JSON, as it is moved by files (commands `room export` and
 * `room import`):
 *
 *   {"type":"room","format":1,"jid":…,"creator":…,"created":…,"secret":…,"config":{…},"subject":…}
 *   {"type":"affiliation","jid":…,"affiliation":"owner","nick":…,"reason":…,"follows":false}
 *   {"type":"hat","jid":…,"uri":…,"title":…}
 *   {"type":"card","vcard":"<vCard …>…"}
 *   {"type":"message","id":…,"at":…,"stanza":"<message …>…"}
 *   {"type":"end","affiliations":1,"messages":1}
 *
 * in this order: one room, its affiliations, hats (XEP-0317), a card (XEP-0054) if it has one, its
 * messages by rising id, the end. A message may be presence: of who entered or left, if the room
 * archived that. `secret` is what
 * occupant ids (XEP-0421) are made of, in base64. `config` has the names and values of the stored
 * configuration. Stanzas are as they were relayed, with the real JID of who said it as `to`.
 *
 * Reading checks all that one line can say: the bytes come from anywhere. Any thread. */
#pragma once
#include "base/err.h"
#include "base/slice.h"
#include "muc/room/occupant_id.h"
#include "xmpp/muc.h"

struct arena;
struct buf;
struct xml_work;

enum room_line_type { LINE_ROOM, LINE_AFFILIATION, LINE_HAT, LINE_CARD, LINE_MESSAGE, LINE_END };
enum {
    ROOM_LINE_FORMAT = 1,
    ROOM_LINE_MAX = 8 << 20,  /* bytes of a line */
    ROOM_LINE_TEXT_MAX = 4000 /* of a reason */
};

struct room_line {
    enum room_line_type type;
    slice jid; /* of the room, or who is affiliated */
    /* room */
    slice creator, config, subject; /* config: as it is stored; subject: a stanza, or empty */
    uint64_t at_us;                 /* when it was made; of a message, when it was said */
    uint8_t secret[OCCUPANT_SECRET_LEN];
    /* affiliation */
    enum affiliation affiliation;
    slice nick, reason;
    bool follows;
    slice uri, title; /* hat */
    slice card;
    /* message */
    uint64_t id;
    slice stanza, sender; /* sender: bare JID in the stanza; may be empty. Not written */
    /* end */
    uint64_t affiliations, messages;
};

bool room_line_is_presence(slice stanza); /* of one that was read */
/* Texts of the result are in tmp. E_SYNTAX: `why` says what is wrong with the line. */
NODISCARD enum err room_line_read(struct room_line *out, slice line, struct xml_work *work,
                                  struct arena *tmp, struct why *why);
/* Appends it with its newline. false: a text is not UTF-8; nothing was appended. */
bool room_line_write(struct buf *out, const struct room_line *l);
