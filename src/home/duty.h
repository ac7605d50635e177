/* duty: jobs that one worker does for all: who sets settings, makes backups, cleans up. A duty has
 * a home like an account. Today each is at worker 0 of one node; what asks for a duty does not know
 * that. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct message_row;
struct node;
struct worker;

enum duty {
    DUTY_NONE,
    DUTY_SETTINGS,  /* the only writer of settings */
    DUTY_LIFECYCLE, /* ends and restarts the server */
    DUTY_CONTROL,   /* serves musterctl */
    DUTY_BACKUP,
    DUTY_CERTS,    /* watches the certificates */
    DUTY_METRICS,  /* answers Prometheus: what is gathered once */
    DUTY_CAPACITY, /* watches how full the server is */
    DUTY_ANNOUNCE, /* writes announcements to all accounts, page by page */
    DUTY_ARCHIVE,  /* deletes old messages */
    DUTY_UPLOADS,  /* deletes expired files */
    DUTY_ROOMS,    /* the tables of group chat, and the end of its archives */
    DUTY_ACCOUNTS, /* what is done once for the accounts of an earlier release */
    DUTY_LINKS,    /* hears first of links to other domains: home/remote.h */
    DUTY_TESTS,    /* tests from outside: their schedule and history */
    DUTY_ACCESS,   /* the only writer of roles, tokens and who has a role */
    DUTY_AUDIT,    /* the only writer of the audit log */
    DUTY_WEBHOOKS, /* keeps the queue of webhooks, and sends it */
    DUTY_GROUPS,   /* the only writer of groups of users */
    DUTY_ALARMS,   /* keeps the history of alarms, and tells of them elsewhere */
    DUTIES
};

const char *duty_name(enum duty duty);                                    /* "settings" */
unsigned duty_home(const struct node *n, enum duty duty, uint32_t *node); /* the worker's index */
/* home_send() to the home of a duty. */
void duty_send(struct worker *w, enum duty duty, const struct message_row *row, void *message);
bool duty_is_here(const struct worker *w, enum duty duty);
