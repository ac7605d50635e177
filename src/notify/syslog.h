/* syslog: hands messages to the syslog server of the setting syslog.server and to journald, for
 * alarms, the audit log and the log. TLS checks the certificate of the server as those of other
 * servers are checked.
 *
 * RFC 5425 knows no receipts: messages count as handed over when the server has taken the
 * connection to its end. What it then loses is lost.
 *
 * At the home of DUTY_CERTS, as all errands are (notify/outbound.h). Limits: SYSLOG_BYTES_MAX of
 * one errand, and a deadline. */
#pragma once
#include "base/buf.h"
#include "io/loop.h"
#include <stdbool.h>

struct feature;
struct syslog_line;
struct visit;
struct worker;

enum { SYSLOG_BYTES_MAX = 4 << 20, SYSLOG_WHY_BYTES = 300, SYSLOG_SERVER_MAX = 300 };

/* Embedded in its owner; zeroed at first. */
struct syslog_errand {
    struct worker *worker;
    /* why: the messages were not handed over; NULL: they were. From the loop, never from inside. */
    void (*done)(struct syslog_errand *e, const char *why);
    char server[SYSLOG_SERVER_MAX + 1]; /* as of syslog.server; empty: what that has now */
    struct buf messages;                /* in frames: syslog_add() */
    struct visit *visit;
    struct resolve *resolve;
    struct loop_defer over;
    char why[SYSLOG_WHY_BYTES];
    bool busy, opened;
    bool ours; /* with why: the settings of this server lack something */
};

bool syslog_is_set(void); /* a server is named */
const char *syslog_server_text(void);
/* Called on each worker when the server is another one. */
void syslog_on_change(void (*fn)(struct worker *w));
/* Before syslog_send(): adds a message. false: no more have room. */
bool syslog_add(struct syslog_errand *e, const struct syslog_line *line);
/* Sends what was added; done() follows once. */
void syslog_send(struct syslog_errand *e, struct worker *w);
void syslog_cancel(struct syslog_errand *e); /* no done() follows */

/* Gives one message to journald, at once. NULL: it has it; or why not. Any thread; waits for
 * nothing and logs nothing. */
const char *journal_send(const struct syslog_line *line);

extern const struct feature syslog_feature;
