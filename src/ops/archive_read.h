/* archive_read: what is in the archive of an account or of a room, for those who may read it with a
 * stated reason: the commands `archive read` and `archive room`. It finds the messages as a query
 * of the account itself does (archive/query.h), and settles nothing: the account has not seen them
 * by that.
 *
 * Limits: ARCHIVE_READ_MAX messages an answer and READ_BYTES of their texts, but always one; more
 * are asked for with --after. */
#pragma once
#include "archive/archive.h"
#include "base/command.h"
#include "xmpp/archive_id.h"
#include "xmpp/datetime.h"

enum { ARCHIVE_READ_MAX = 1000 };

/* Ends the call with the messages of that owner. room: its address, if the owner is one, whose
 * messages have their author as `author`; else empty, and they have `to`. At once, on a worker. */
void archive_read_run(struct command_call *call, int64_t owner, slice room);

#define ARCHIVE_READ_TIME_ARG(text, about)                                                         \
    {                                                                                              \
        .name = text, .kind = ARG_OPTION, .check = datetime_is, .max = 64, .form = DATETIME_FORM,  \
        .doc = about                                                                               \
    }
/* Behind the argument that says whose archive it is. */
#define ARCHIVE_READ_ARGS(with_doc)                                                                \
    { .name = "with", .kind = ARG_OPTION, .type = PARAM_JID, .doc = (with_doc) },                  \
        ARCHIVE_READ_TIME_ARG("start", "only messages of this time or later"),                     \
        ARCHIVE_READ_TIME_ARG("end", "only messages of this time or earlier"),                     \
        { .name = "after",                                                                         \
          .kind = ARG_OPTION,                                                                      \
          .max = ARCHIVE_ID_LEN,                                                                   \
          .doc = "begin after this message" },                                                     \
        COMMAND_LIMIT_ARG(ARCHIVE_READ_MAX, "show at most this number; 100 if not given"),         \
        COMMAND_REASON_ARG
#define ARCHIVE_READ_COLUMNS(whom, to_doc, else_has)                                               \
    { .name = "id", .doc = "its id in the archive, as clients have it" },                          \
        { .name = "time", .type = PARAM_STAMP, .doc = "when it was stored" },                      \
        { .name = "from", .optional = true, .type = PARAM_JID, .doc = "who sent it" },             \
        { .name = whom, .optional = true, .type = PARAM_JID, .doc = to_doc },                      \
        { .name = "body", .optional = true, .doc = "its text" },                                   \
        { .name = "stanza", .optional = true, .wide = true, .doc = "all of it, as it is stored" }, \
    {                                                                                              \
        .name = "bytes", .optional = true, .type = PARAM_INT,                                      \
        .doc = "the length of a message of more than 2 MiB, of which `body` and `stanza` are "     \
               "left out: `" else_has "` has them"                                                 \
    }
