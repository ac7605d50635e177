/* doctor_check: what `doctor` finds out about the machine: facts are read, and each row of the
 * table of checks judges them and says what it found and which command mends it. The judgement is
 * pure; reading waits for the disk. */
#pragma once
#include "base/slice.h"
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct command_call;
struct node_file;

/* Facts of the machine. -1: not known. */
struct doctor_facts {
    bool runs;         /* a server runs with this node file */
    bool in_server;    /* it is this process */
    bool hangs;        /* it takes connections, but does not answer */
    bool closed;       /* who looks may not use its control socket, nor see that it is an old one */
    int64_t clock_off; /* 1: nobody sets the clock; 0: it is synchronised */
    int64_t descriptors; /* that this process may have, if it is the server */
    int64_t planned;     /* how many clients at a time (ext/capacity.c) */
    int64_t nr_open, somaxconn;
    int64_t disk_free, disk_bytes, inodes_free, inodes; /* where the data folder is */
    int64_t memory_free, memory_bytes;
    int64_t data_mode, database_mode; /* permissions of the folder, and of the file of SQLite */
    int64_t database_errno;           /* why that file cannot be read and written; 0: it can */
    int64_t database_look;            /* enum err of a look into it: store_look(), store_reach() */
    char database_said[768];          /* by that look */
    char database_owner[32];          /* user; empty: not known */
    char user[32];                    /* who runs the server, as chown takes it */
    uid_t user_id;                    /* the same */
    bool stranger;                    /* another user looks, who may see less */
    bool sqlite;
    char looker[32];        /* who looks; of `closed` */
    char control_group[32]; /* whose members may use the socket; empty: root only */
    const char *control;    /* path of that socket */
    const char *data;       /* path */
    const char *config;     /* path */
};

/* Who looks: any user beside the server; the server; or somebody with the rights of its user. */
enum doctor_place { DOCTOR_BESIDE, DOCTOR_IN_SERVER, DOCTOR_AS_SERVER };
/* How a server answered that was asked from outside; whether it runs, its lock says. Closed: who
 * asked may not use its control socket. */
enum doctor_server { DOCTOR_SERVER_UNKNOWN, DOCTOR_SERVER_HANGS, DOCTOR_SERVER_CLOSED };
/* Unknown: it could not be looked at from here, which is no warning. */
enum doctor_state { DOCTOR_OK, DOCTOR_UNKNOWN, DOCTOR_WARNING, DOCTOR_ERROR };
enum { DOCTOR_TEXT_MAX = 1024 };

struct doctor_finding {
    enum doctor_state state;
    char found[DOCTOR_TEXT_MAX], remedy[DOCTOR_TEXT_MAX];
};

struct doctor_check {
    const char *name;
    void (*judge)(const struct doctor_facts *f, struct doctor_finding *out);
};
extern const struct doctor_check doctor_checks[]; /* ended by { 0 } */

struct doctor_look {
    enum doctor_place place;
    enum doctor_server server;
    const char *control;     /* the socket that was asked; of DOCTOR_SERVER_CLOSED */
    const char *revoked;     /* domains whose certificate is: "a.test, b.test"; NULL: none known */
    const atomic_bool *stop; /* true: what takes long is given up, for the server ends; or NULL */
};

void doctor_read_facts(struct doctor_facts *out, const struct node_file *file,
                       const struct doctor_look *look);

/* Adds a row of the command; a remedy of nothing that is wrong is left out. */
void doctor_add(struct command_call *call, const char *check, enum doctor_state state,
                const char *found, const char *remedy);
/* All checks of the machine and of the node file. Waits for the disk, and for our own listeners. */
void doctor_check_all(struct command_call *call, const struct node_file *file,
                      const struct doctor_look *look);
