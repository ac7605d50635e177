/* request: answers requests to the archive of a room (XEP-0313 §5.1.2): messages are found
 * by archive/query.h and sent by archive/page.h to the user who asked, who may be anywhere.
 * Permissions are the caller's to check. The room may be unloaded meanwhile: nothing here looks at
 * it again.
 *
 * Limits: READERS_MAX queries under way on a worker, READERS_EACH_MAX of one address; a page as in
 * archive/page.h. */
#pragma once
#include <stdint.h>

struct iq;
struct room_archive;

/* The user who asks, and what the room permits. */
enum room_sight {
    SIGHT_NONE,  /* nothing: forbidden */
    SIGHT_NICKS, /* who said what by nickname (and occupant-id) */
    SIGHT_JIDS   /* the real JIDs, too */
};
struct room_reader {
    enum room_sight sight;
    uint32_t page_max; /* messages of a page */
};
/* Answers, at once or later, <query/> of type set, of type get, and <metadata/>. */
void room_archive_query(const struct room_archive *a, struct iq *iq, struct room_reader who);
void room_archive_form(struct iq *iq, struct room_reader who);
void room_archive_metadata(const struct room_archive *a, struct iq *iq, struct room_reader who);
