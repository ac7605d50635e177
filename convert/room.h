/* room: writes a room of another server as a file of `room export` (muc/room/room_line.h says what
 * that is like). The functions are called in the order in which they stand here, which is that of
 * the file.
 *
 * Limits: ROOM_TEXT_MAX bytes of a text of the configuration; ROOM_REASONS_MAX lines of what is
 * lost; ROOM_STANZA_MAX bytes of a stanza. */
#pragma once
#include "convert/output.h"

enum { ROOM_TEXT_MAX = 1023, ROOM_REASONS_MAX = 100, ROOM_STANZA_MAX = 4 << 20 };

/* How a setting of the configuration is stored here. */
enum room_setting_kind {
    ROOM_LINE,     /* a text of one line */
    ROOM_LINES,    /* of several */
    ROOM_LANGUAGE, /* RFC 5646 */
    ROOM_COUNT,    /* a number, or `none` */
    ROOM_TRUTH,
    ROOM_FALSE,   /* as the opposite of what it is there */
    ROOM_WHOIS,   /* on: addresses are for moderators only */
    ROOM_SUBJECT, /* on: participants may change it */
    ROOM_PRIVATE, /* on: messages to one occupant are allowed */
    ROOM_OFF,     /* known here only as it is when it is off or empty */
    ROOM_NONE,    /* means nothing here, whatever it is */
    ROOM_USED     /* read elsewhere */
};
struct room_setting {
    const char *theirs, *ours;
    enum room_setting_kind kind;
};
struct room_value {
    slice text; /* of a text, a number or a word */
    bool given; /* it has a text */
    bool truth; /* it is on */
};

struct room_writer {
    struct output *output;
    struct arena *tmp;
    slice name, host;
    slice jid;        /* of the room, bare */
    const char *file; /* its name in the folder */
    struct buf out;   /* what is written next */
    int fd, error;    /* errno */
    struct text_list *lost, **last;
    unsigned lost_count;
    uint64_t now_us, last_id, affiliations, messages, others;
};

/* NULL, or why there can be no such file. room_writer_end() must follow. */
const char *room_writer_begin(struct room_writer *r, struct output *o, slice name, slice host,
                              struct arena *tmp);
/* Something does not come along; at any time. */
void room_writer_lost(struct room_writer *r, const char *what, slice which);

/* creator: a JID, or empty: the service. */
void room_writer_config(struct room_writer *r, slice creator);
void room_writer_truth(struct room_writer *r, const char *key, bool truth);
void room_writer_word(struct room_writer *r, const char *key, slice word); /* as it is stored */
/* A list of the roles ("moderator") of which `has` is true. */
typedef bool room_has_role(const void *arg, const char *role);
void room_writer_roles(struct room_writer *r, const char *key, room_has_role *has, const void *arg);
/* Of a table that ends with a row without a name; what is not in it, or cannot be stored, is lost.
 */
void room_writer_setting(struct room_writer *r, const struct room_setting *table, slice theirs,
                         const struct room_value *v);
/* Ends the configuration. `from`: a JID in the room, else the room has said it; at_us 0: at an
 * unknown time. */
void room_writer_subject(struct room_writer *r, slice subject, slice from, uint64_t at_us);

/* Whether that is an affiliation of a bare address that can be had here; jid: prepared. */
bool room_writer_may(struct room_writer *r, slice who, slice affiliation, slice *jid);
void room_writer_affiliation(struct room_writer *r, slice jid, slice affiliation, slice nick,
                             slice reason);

/* A message of an occupant. */
struct room_said {
    slice from;   /* ROOM/NICK */
    slice author; /* the JID of the occupant; empty: unknown */
    slice id, lang;
    slice content;  /* the children of the message */
    uint64_t at_us; /* 0: now */
};
/* A message of the archive, in rising order of time. It is counted as lost if it is from elsewhere
 * or has no content. */
void room_writer_said(struct room_writer *r, const struct room_said *said, struct arena *tmp);

/* problem: why the room is refused after all; NULL: it is not. */
void room_writer_end(struct room_writer *r, const char *problem);
