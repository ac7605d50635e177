/* operate: what operators do with rooms: the commands `room …`, in the files operate_*.c. A command
 * reaches a room at its home, in order with the stanzas to it; what it keeps meanwhile is in the
 * arena of its call. */
#pragma once
#include "base/command.h"
#include "codec/xml_write.h"
#include "xmpp/muc.h"

struct arena;
struct room;
struct store_stmt;
struct worker;

/* Arguments that are texts of a room; a line: as owners may name it. */
enum { OPERATE_TEXT_MAX = 1000 };
bool operate_is_line(slice text);
#define OPERATE_TEXT .max = OPERATE_TEXT_MAX, .check = xml_is_text, .form = "characters of XML"
#define OPERATE_LINE                                                                               \
    .max = OPERATE_TEXT_MAX, .check = operate_is_line, .form = "one line, of characters of XML"

/* Says why a change was not made. */
void operate_fail(struct command_call *call, slice room, enum err e);

/* Addresses of those with this affiliation, with blanks between them; as many as 64 KiB hold, and
 * how many more there are. */
slice operate_people(const struct room *r, enum affiliation of, struct arena *arena);

/* The argument `owners`: false: it names nobody, and the call has failed. */
bool operate_names_owners(struct command_call *call);
/* Makes these users, separated by spaces, owners: edits, which last as long as the scratch of the
 * room and have space for one more of each owner. `all`: gets their addresses. */
struct map;
struct room_delta;
void operate_add_owners(const struct room *r, slice users, struct map *all, struct room_delta *d);

/* How much a room has recorded, and when it was last spoken in (0: never recorded). */
extern struct store_stmt operate_archive_stmt;
