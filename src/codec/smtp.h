/* smtp: one mail to a relay, as a pure machine on the side of the client (RFC 5321). The caller
 * brings the lines of the relay and sends what the machine writes. It takes up STARTTLS (RFC 3207)
 * where that is offered, and logs in under TLS if it is given a user (RFC 4954, PLAIN or LOGIN).
 *
 * GREETING ─▶ HELLO ─▶ (TLS ─▶ SECURE_HELLO ─▶ (LOGIN)) ─▶ SENDER ─▶ RECIPIENT, one after the other
 * ─▶ DATA ─▶ TEXT ─▶ QUIT. Limits: SMTP_LINE_MAX of a line of the relay, SMTP_LINES_MAX lines of
 * one reply. */
#pragma once
#include "base/slice.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;

enum {
    SMTP_RECIPIENTS_MAX = 32,
    SMTP_LOGIN_MAX = 255,
    SMTP_LINE_MAX = 2048,
    SMTP_LINES_MAX = 100,
    SMTP_NOTE_BYTES = 200
};

struct smtp_mail {
    const char *host; /* ours, for EHLO */
    const char *from; /* addresses that smtp_address_ok() accepts */
    const slice *to;
    size_t to_count;  /* from 1 to SMTP_RECIPIENTS_MAX */
    bool demands_tls; /* without STARTTLS it is not sent */
    bool tls_first;   /* TLS has begun before the greeting (RFC 8314 §3) */
    /* Of the account at the relay, at most SMTP_LOGIN_MAX bytes each; user NULL: without. Nothing
     * of both is said in the clear. */
    const char *user, *password;
    slice text; /* header and body, with LF; in ASCII or UTF-8 */
};

enum smtp_step {
    SMTP_MORE,  /* the next line */
    SMTP_SAY,   /* send what was written, then the next line */
    SMTP_TLS,   /* begin TLS, then smtp_secured() */
    SMTP_DONE,  /* the relay has the mail; send what was written and close */
    SMTP_FAILED /* it does not; `note` says why */
};

struct smtp {
    const struct smtp_mail *mail; /* outlives it */
    int state;
    size_t at, refused; /* recipients that were named; and those of them that were refused */
    uint32_t later;     /* bits of those that were refused for the moment only (4yz) */
    unsigned lines;     /* of the reply that is coming */
    bool offers_tls, offers_plain, offers_login, secure;
    char note[SMTP_NOTE_BYTES]; /* of a failure, or about recipients that were refused */
};

/* name@domain in ASCII, of at most 254 bytes, without blanks and brackets. */
bool smtp_address_ok(slice address);
void smtp_begin(struct smtp *s, const struct smtp_mail *mail);
/* A line of the relay, without its end. Appends to `out`. */
enum smtp_step smtp_line(struct smtp *s, slice line, struct buf *out);
/* Bytes came behind the last line of a reply, before anything was asked (RFC 3207 §6 for those
 * behind the reply to STARTTLS): the relay is not in step, or somebody else speaks. */
enum smtp_step smtp_too_early(struct smtp *s);
enum smtp_step smtp_secured(struct smtp *s, struct buf *out);
