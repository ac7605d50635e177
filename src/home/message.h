/* message: what crosses between homes (architecture §4): one row for each kind of message, in the
 * module that handles it. From the row it is packed for another node, read again and checked, and
 * tests and the fuzz target make their messages (home/test_message.h).
 *
 * Between the workers of a process a message is its struct, followed by its texts, in a frame of
 * the mesh: nothing is packed. To a home on the same worker it is a call, and nothing is copied.
 *
 * Ids and the order of fields are the format of the wire: an id is never given to another message,
 * and a field is added only at the end, one that may miss. So two releases understand each other:
 * fields that the reader does not know are skipped, those that the sender did not know are zero,
 * and a message of an unknown id is dropped with a line in the log. An enum in a field has its
 * numbers written out, and a new one is the last. messages.txt says what older releases have;
 * app/messages_wire_test.c compares.
 *
 * The ids of the core are below 40, of ext 40 to 59, of gate 60 to 79, of muc 80 to 99, of
 * federation, wherever it is, 100 to 139.
 *
 * Whoever sends a message gives away the references in it (stanzas); texts are borrowed for the
 * call. `run` may take a reference by setting the member to NULL; what it leaves is released. */
#pragma once
#include "base/err.h"
#include "base/slice.h"
#include <stddef.h>

struct bus_from;
struct frame;
struct node;
struct stanza;
struct worker;

enum {
    MESSAGE_IDS = 256, /* ids are below */
    MESSAGE_FIELDS_MAX = 32,
    MESSAGE_STRUCT_MAX = 512 /* bytes of a struct */
};

enum message_scope {
    MESSAGE_PROCESS, /* between the workers of this process */
    MESSAGE_CLUSTER  /* to other nodes, too */
};

/* C type in brackets. A text or stanza that is not optional is there. */
enum field_type {
    MF_END,
    MF_BOOL,   /* (bool) */
    MF_U8,     /* (uint8_t) at most `max`: flags and enums */
    MF_U32,    /* (uint32_t) at most `max` */
    MF_U64,    /* (uint64_t) */
    MF_I64,    /* (int64_t) */
    MF_BYTES,  /* (slice) at most `max` bytes, perhaps none */
    MF_TEXT,   /* (slice) the same in UTF-8 */
    MF_BARE,   /* (slice) a prepared bare JID, or a domain */
    MF_FULL,   /* (slice) a prepared full JID */
    MF_JID,    /* (slice) either */
    MF_JIDS,   /* (slice) packed: home/jids.h */
    MF_TEXTS,  /* (slice) packed, at most `max` bytes: home/texts.h; each in UTF-8 */
    MF_STANZA, /* (struct stanza *) a reference */
    MF_LOCAL   /* (void *) an object of this process; only in MESSAGE_PROCESS */
};

struct message_field {
    const char *name; /* of the member */
    enum field_type type;
    bool optional;
    uint8_t unknown; /* MF_U8: what it is read as above `max`; 0: it is refused */
    uint16_t offset;
    uint64_t max;
};

/* The member of struct s has the C type of the field, or this does not compile. */
#define MESSAGE_FIELD(field, ctype, s, m, may_miss, ...)                                           \
    {                                                                                              \
        .name = #m, .type = field, .optional = may_miss,                                           \
        .offset = offsetof(s, m) + 0 * sizeof((ctype *)NULL == &((s *)NULL)->m),                   \
        .max = __VA_ARGS__                                                                         \
    }
#define F_BOOL(s, m)           MESSAGE_FIELD(MF_BOOL, bool, s, m, true, 1)
#define F_U8(s, m, max)        MESSAGE_FIELD(MF_U8, uint8_t, s, m, true, max)
#define F_U32(s, m, max)       MESSAGE_FIELD(MF_U32, uint32_t, s, m, true, max)
#define F_U64(s, m)            MESSAGE_FIELD(MF_U64, uint64_t, s, m, true, UINT64_MAX)
#define F_I64(s, m)            MESSAGE_FIELD(MF_I64, int64_t, s, m, true, UINT64_MAX)
#define F_BYTES(s, m, max)     MESSAGE_FIELD(MF_BYTES, slice, s, m, true, max)
#define F_TEXT(s, m, max)      MESSAGE_FIELD(MF_TEXT, slice, s, m, true, max)
#define F_BARE(s, m)           MESSAGE_FIELD(MF_BARE, slice, s, m, false, JID_MAX)
#define F_BARE_OR_NONE(s, m)   MESSAGE_FIELD(MF_BARE, slice, s, m, true, JID_MAX)
#define F_FULL(s, m)           MESSAGE_FIELD(MF_FULL, slice, s, m, false, JID_MAX)
#define F_FULL_OR_NONE(s, m)   MESSAGE_FIELD(MF_FULL, slice, s, m, true, JID_MAX)
#define F_JID(s, m)            MESSAGE_FIELD(MF_JID, slice, s, m, false, JID_MAX)
#define F_JIDS(s, m)           MESSAGE_FIELD(MF_JIDS, slice, s, m, true, UINT32_MAX)
#define F_TEXTS(s, m, max)     MESSAGE_FIELD(MF_TEXTS, slice, s, m, true, max)
#define F_STANZA(s, m)         MESSAGE_FIELD(MF_STANZA, struct stanza *, s, m, false, 0)
#define F_STANZA_OR_NONE(s, m) MESSAGE_FIELD(MF_STANZA, struct stanza *, s, m, true, 0)
#define F_LOCAL(s, m)          MESSAGE_FIELD(MF_LOCAL, void *, s, m, true, 0)
/* An enum err (uint8_t). One that a later release has added is a failure here, too. */
#define F_ERR(s, m) MESSAGE_FIELD(MF_U8, uint8_t, s, m, true, ERR_COUNT - 1, .unknown = E_INTERNAL)

/* The part of a message in a conversation: home/question.h. */
enum message_part { PART_ALONE = 0, PART_QUESTION = 1, PART_ANSWER = 2 };

/* Who sent it: borrowed for the call of run(). Only who answers a question later keeps a copy,
 * until question_end(). */
struct message_from {
    uint32_t node, worker;
    uint32_t question; /* of home/question.h; 0: nobody waits for an answer */
    uint8_t part;      /* enum message_part */
    uint8_t passed;    /* so many workers have passed it on: home/slots.h */
};

struct message_row {
    uint16_t id; /* below MESSAGE_IDS */
    enum message_scope scope;
    const char *name;
    size_t size;                        /* of its struct */
    const struct message_field *fields; /* ended by { 0 } */
    /* At the home that it was sent to. NULL: it is only ever an answer. */
    void (*run)(struct worker *w, void *message, const struct message_from *from);
    /* What its fields do not tell: whether run may have this message, of another node. Without
     * effects: debug builds ask it of each message (home/message.c). NULL: any. */
    bool (*sound)(struct worker *w, const void *message, const struct message_from *from);
    const struct message_row
        *answer; /* to it as a question: home/question.h; NULL: none but `done` */
    /* The slot that it is for (home/node.h), wherever that is: where it is not, the message is
     * passed on (home/slots.h). NODE_SLOTS: of several. NULL: it is for the worker that it was
     * sent to. */
    unsigned (*slot)(const void *message);
    /* Nobody has the slot: says so to whoever waits. What it leaves is released. NULL: nobody
     * waits. */
    void (*unplaced)(struct worker *w, void *message);
    bool later; /* run does not end the answer: question_end() follows */
    bool slow;  /* that may take longer than QUESTION_MS */
};

/* Fields of a message that says nothing but its name. */
struct message_nothing {
    uint8_t unused; /* a struct has a member */
};
extern const struct message_field message_no_fields[];

/* Gathers the rows of a program, before any worker runs. false: `why` names two rows that clash, or
 * one that is not sound in itself. A second call replaces the first. */
NODISCARD bool messages_set(const struct message_row *const *rows, size_t count, struct why *why);
const struct message_row *message_find(uint32_t id); /* NULL: unknown */

/* To a worker of a node; our own node id or 0: of this process. It is the call of `run` if that is
 * this worker. */
void home_send_to(struct worker *w, uint32_t node, unsigned worker, const struct message_row *row,
                  void *message);
/* The same as a part of a conversation; `as` says which, and `node` and `worker` of it are not
 * read.
 */
void home_send_as(struct worker *w, uint32_t node, unsigned worker, const struct message_row *row,
                  void *message, const struct message_from *as);
/* To the home of a bare JID. */
void home_send(struct worker *w, slice bare, const struct message_row *row, void *message);
/* A message without fields, from any thread: a setting was changed, perhaps by main's. */
void home_post(struct node *n, unsigned worker, const struct message_row *row);
/* A message in a frame, with its texts behind it and its references in it; and the run of such a
 * one, as if this process had sent it, which frees the frame. */
struct frame *message_keep(const struct message_row *row, const void *message,
                           const struct message_from *from);
void message_run_kept(struct worker *w, struct frame **f);
void message_release(const struct message_row *row, void *message); /* its references */
void message_copy(const struct message_row *row, void *copy, const void *message); /* takes more */

void messages_deliver(struct frame *f, void *worker); /* mesh_deliver_fn */
void messages_drop(struct frame *f);                  /* mesh_drop_fn: undelivered at the end */
void messages_receive(void *worker, const struct bus_from *from, slice bytes); /* bus_deliver_fn */
