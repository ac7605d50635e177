/* principal: who asks, and what they may do. Every command call has one; home/command_run.h
 * compares it with the permission of the command, the only place where that is done.
 *
 * A permission is the area of a command and its effect: "users.read", "rooms.write". A role is a
 * list of patterns, separated by spaces: `*`, `*.read`, `users.*`, `users.read`. A pattern behind
 * `!` takes away what others give. Pure, any thread. */
#pragma once
#include "base/err.h"
#include "base/slice.h"

struct arena;

enum principal_kind {
    PRINCIPAL_NONE,    /* may nothing: one that was not filled in */
    PRINCIPAL_SERVER,  /* the server itself, by a schedule: may all */
    PRINCIPAL_CONTROL, /* an operator at the control socket: may all */
    PRINCIPAL_ACCOUNT, /* a user, from an XMPP client */
    PRINCIPAL_TOKEN,   /* a program, with an access token */
    PRINCIPAL_ADMIN,   /* a person, with a session of the console */
    PRINCIPAL_KINDS
};

/* Texts are borrowed, for as long as the call. Zeroed, it may do nothing. */
struct principal {
    enum principal_kind kind;
    bool weak;    /* its client logged in with a token of its device (XEP-0484) instead of the
                   * password, or without the second factor that its role or itself has */
    bool itself;  /* it changes its own password or second factor: everybody may, by grants that are
                   * not of its role */
    slice actor;  /* for logs: "control:root", "xmpp:alice@example.org/home", "token:backup" */
    slice from;   /* address of the client; empty: this machine, or a user of another
                   * server */
    slice role;   /* its name, for refusals; empty: none */
    slice grants; /* patterns of the role */
    slice scope;  /* patterns too: only what both give; ptr NULL: as far as the role goes */
    slice own;    /* bare JID of the user behind it, whose own account COMMAND_OWN is for */
    int64_t generation; /* of a token or an administrator: another one has got its name, or what it
                         * is let in with has changed, where it is another number. 0: none */
};

enum { GRANTS_BYTES_MAX = 2048 };
#define GRANTS_FORM                                                                                \
    "patterns such as *, *.read, users.*, rooms.write or !archive.read, separated by spaces"

/* Why a weak one is refused. */
#define PRINCIPAL_WEAK                                                                             \
    "this client logged in with a token, or without a second factor; log in with the password, "   \
    "or where there is a second factor at the console, or use musterctl"

extern const struct principal principal_server;

/* Whether it is not an operator on the machine itself. */
bool principal_is_remote(const struct principal *p);
bool principal_may(const struct principal *p, const char *permission);
/* Of a list of patterns. */
bool grants_permission(slice grants, const char *permission);
/* Whether it is such a list, with one pattern that gives something. */
bool grants_are_valid(slice grants);
/* A copy whose texts are in the arena. */
struct principal principal_dup(const struct principal *p, struct arena *arena);
