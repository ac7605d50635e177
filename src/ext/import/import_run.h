/* import_run: an import under way, as the files that carry it out see it. import.c leads it from
 * step to step, import_store.c stores the users of a step, import_room.c makes a room. On the
 * worker that imports, but for the source, which helper threads read. */
#pragma once
#include "auth/hashes.h"
#include "base/map.h"
#include "ext/import/import_group.h"
#include "ext/import/import_groups.h"
#include "ext/import/import_pieces.h"
#include "ext/import/import_source.h"
#include "ext/import/import_user.h"
#include "home/command_run.h"
#include "io/work.h"
#include "store/store.h"

enum { STEP_USERS = 16 };

/* Things that are lost, as the source says. */
struct import_lost {
    const char *what;
    uint64_t count;
};

/* A user of the source, or the domain of one. */
struct import_seen {
    slice jid;                     /* first */
    bool is_new;                   /* an account that this import has made, or would */
    struct hashes_lacking lacking; /* accounts of the domain that came, or would */
};

struct import {
    struct work work;
    struct command_call *call;
    uint64_t job;
    struct worker *worker;
    const char *path;
    bool once;             /* struct import_from */
    slice domain;          /* of users whose source names none; empty: they are refused */
    struct source *source; /* NULL: not open */
    struct xml_work *xml;
    struct arena *arena, *lasting; /* of a step; as long as this */
    struct map seen, domains;      /* of all users: struct import_seen */
    struct source_groups groups;   /* all of them, when the source was read */
    struct import_groups making;
    struct import_user *users; /* of the step */
    int64_t first_id;          /* of the first that is stored; 0: none is yet */
    struct import_pieces pieces;
    struct import_lost lost[STEP_USERS];
    unsigned count, lost_count, pending;
    unsigned abandoning; /* import_abandon(): under way; `abandoned` is called when none is */
    void (*abandoned)(struct import *x);
    bool dry, replace, over, ended;
    const struct account_template *template; /* of accounts that were not there; NULL: none */
    int64_t from_template;                   /* would be made from it: a dry run */
    slice newest;                            /* account that is new; empty: none */
    struct source_found room;                /* behind the users of the step; host.len 0: none */
    uint64_t rooms, rooms_there, rooms_refused;
    bool found; /* any user, of whatever kind */
    enum err e; /* of the source, or of the database */
    struct why why;
    uint64_t imported, there, refused, left, disabled, told_us;
    uint64_t reported[2];    /* lines: about the source as a whole, about users, rooms and groups */
    struct command_call del; /* `user del` of one that is replaced, or `room import` */
    struct command_return back;
};

/* Called when these are done: the users of a step; a room, if there was one. */
void import_step_end(struct import *x);
void import_room_end(struct import *x);
void import_end(struct import *x); /* the import cannot go on, or is done */
