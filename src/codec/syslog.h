/* syslog: messages to a syslog server (RFC 5424), and to systemd-journald in its native protocol.
 * Texts of strangers are values: a value can neither end its field nor forge another one. Pure. */
#pragma once
#include "base/slice.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;

/* RFC 5424 §6.2.1. */
enum syslog_severity {
    SYSLOG_CRITICAL = 2,
    SYSLOG_ERROR = 3,
    SYSLOG_WARNING = 4,
    SYSLOG_NOTICE = 5,
    SYSLOG_INFO = 6,
    SYSLOG_DEBUG = 7
};
enum {
    SYSLOG_DAEMON = 3,     /* facilities */
    SYSLOG_AUDIT = 13,     /* "log audit" */
    SYSLOG_UDP_MAX = 2048, /* bytes of a datagram; what servers should take: RFC 5424 §6.1 */
    SYSLOG_HOST_MAX = 255
};

struct syslog_field {
    const char *name; /* of letters and _: it is that of the journal in capitals, too */
    slice value;
};
struct syslog_line {
    enum syslog_severity severity;
    int facility;
    uint64_t at_us;
    slice host;
    const char *kind;                  /* MSGID: "alarm" */
    const struct syslog_field *fields; /* ended by { 0 } */
    slice text;
};

/* Appends a message without a frame. */
void syslog_write(struct buf *out, const struct syslog_line *line);
/* Appends it in a frame for TCP and TLS: its length before it (RFC 5425 §4.3, RFC 6587 §3.4.1). */
void syslog_frame(struct buf *out, slice message);
/* Takes the first frame off; false: there is none. */
bool syslog_unframe(slice *frames, slice *message);
/* Appends it as a datagram for journald. */
void syslog_journal(struct buf *out, const struct syslog_line *line);

enum syslog_way { SYSLOG_UDP, SYSLOG_TCP, SYSLOG_TLS };
struct syslog_server {
    enum syslog_way way;
    slice host; /* a name, or an address without brackets */
    uint16_t port;
};
/* "udp:log.example.org", "tcp:192.0.2.1:1514", "tls:[2001:db8::1]:6514". Without a port: 514, 601,
 * 6514. false: it is none of these. */
bool syslog_server_read(slice text, struct syslog_server *out);
