/* gate: how homes speak to the streams of edges (home/edge.h). The core never names an edge: the
 * program gives this table to the node. For a stream on the same worker the call is direct; else
 * the same struct crosses as a frame (architecture §3: stream and session are two objects and speak
 * only frames).
 */
#pragma once
#include "home/gate_ops.h"
#include "session/session.h"
#include "xmpp/stanza_error.h"

struct stream;
struct worker;

enum down_kind {
    DOWN_BOUND = 0,       /* text: full JID; session, local. Of Bind 2: more: what is in <bound/>;
                         num: 1 if it enabled stream management */
    DOWN_REFUSED = 1,     /* error: of the bind IQ; text */
    DOWN_STANZA = 2,      /* st, note; num: its outbound count */
    DOWN_ACK = 3,         /* num: h */
    DOWN_REQUEST = 4,     /* ask for an acknowledgement */
    DOWN_ENABLED = 5,     /* text: resumption id, empty: not resumable; num: seconds */
    DOWN_RESUMED = 6,     /* text: full JID; num: h; session, local. Stanzas to repeat follow */
    DOWN_NOT_RESUMED = 7, /* error */
    DOWN_HOLD = 8,        /* stop reading: too many unfinished stanzas */
    DOWN_RELEASE = 9,
    DOWN_CHARGE = 10, /* num: bytes that count as sent by the client */
    DOWN_CLOSE = 11,  /* end: why; text: XML to put into the stream error, or empty */
    DOWN_MOVED = 12   /* text: full JID; session: its home is elsewhere now. Never a frame: other
                         streams know its id alone */
};
struct down {
    enum down_kind kind;
    uint32_t num;
    struct stanza *st;              /* borrowed */
    const struct stanza_note *note; /* borrowed; NULL: none */
    slice text, more;
    enum stanza_error error;
    enum session_end end;
    uint64_t session;      /* id of who says it; 0: it is not known */
    struct session *local; /* NULL: its home is another worker */
};
/* What a stream gets that has asked for a session; all else is for the session that it has. */
static inline bool down_answers(enum down_kind kind)
{
    return kind == DOWN_BOUND || kind == DOWN_RESUMED || kind == DOWN_REFUSED ||
           kind == DOWN_NOT_RESUMED;
}
