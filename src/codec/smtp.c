#include "codec/smtp.h"
#include "base/base64.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/mem.h"
#include <stdio.h>

enum { CODED_MAX = 4 * SMTP_LOGIN_MAX, ADDRESS_MAX = 254, CODE_LEN = 3, SHOWN_MAX = 100 };

enum state {
    WAIT_GREETING,
    WAIT_HELLO,
    WAIT_TLS,
    WAIT_SECURE_HELLO,
    WAIT_LOGIN,    /* for its question about the user, */
    WAIT_PASSWORD, /* and about the password */
    WAIT_ACCEPTED,
    WAIT_SENDER,
    WAIT_RECIPIENT,
    WAIT_DATA,
    WAIT_TEXT,
    ENDED
};

bool smtp_address_ok(slice a)
{
    size_t ats = 0;
    if (a.len == 0 || a.len > ADDRESS_MAX || a.ptr[0] == '@' || a.ptr[a.len - 1] == '@')
        return false;
    for (size_t i = 0; i < a.len; i++) {
        if (a.ptr[i] <= ' ' || a.ptr[i] > '~' || strchr("<>()[]\\,;:\"", a.ptr[i]) != NULL)
            return false;
        ats += a.ptr[i] == '@';
    }
    return ats == 1;
}

void smtp_begin(struct smtp *s, const struct smtp_mail *mail)
{
    ensure(mail->to_count > 0 && mail->to_count <= SMTP_RECIPIENTS_MAX);
    *s = (struct smtp){ .mail = mail, .state = WAIT_GREETING, .secure = mail->tls_first };
}

static void smtp_note(struct smtp *s, const char *what, slice line)
{
    int len = (int)(line.len < SHOWN_MAX ? line.len : SHOWN_MAX);
    snprintf(s->note, sizeof s->note, "%s: \"%.*s\"", what, len, line.ptr);
    for (char *c = s->note; *c != '\0'; c++)
        if ((unsigned char)*c < ' ' || (unsigned char)*c > '~')
            *c = '?';
}

static enum smtp_step smtp_fail(struct smtp *s, const char *what, slice line)
{
    s->state = ENDED;
    smtp_note(s, what, line);
    return SMTP_FAILED;
}

static enum smtp_step smtp_say_hello(struct smtp *s, int state, struct buf *out)
{
    s->state = state;
    s->offers_tls = s->offers_plain = s->offers_login = false;
    buf_printf(out, "EHLO %s\r\n", s->mail->host);
    return SMTP_SAY;
}

enum smtp_step smtp_too_early(struct smtp *s)
{
    ensure(s->state != WAIT_GREETING);
    s->state = ENDED;
    snprintf(s->note, sizeof s->note, "the relay says more than it was asked");
    return SMTP_FAILED;
}

enum smtp_step smtp_secured(struct smtp *s, struct buf *out)
{
    ensure(s->state == WAIT_TLS);
    s->secure = true;
    return smtp_say_hello(s, WAIT_SECURE_HELLO, out);
}

static enum smtp_step smtp_name_sender(struct smtp *s, struct buf *out)
{
    s->state = WAIT_SENDER;
    buf_printf(out, "MAIL FROM:<%s>\r\n", s->mail->from);
    return SMTP_SAY;
}

static enum smtp_step smtp_next_recipient(struct smtp *s, struct buf *out)
{
    if (s->at < s->mail->to_count) {
        s->state = WAIT_RECIPIENT;
        buf_printf(out, "RCPT TO:<%.*s>\r\n", SLICE_ARG(s->mail->to[s->at]));
        s->at++;
        return SMTP_SAY;
    }
    if (s->refused == s->mail->to_count) {
        s->state = ENDED;
        return SMTP_FAILED; /* the note is about the last one */
    }
    s->state = WAIT_DATA;
    buf_lit(out, "DATA\r\n");
    return SMTP_SAY;
}

static enum smtp_step smtp_recipient(struct smtp *s, bool good, slice line, struct buf *out)
{
    char what[SMTP_NOTE_BYTES / 2];
    if (!good) {
        s->refused++;
        if (line.ptr[0] == '4')
            s->later |= UINT32_C(1) << (s->at - 1);
        snprintf(what, sizeof what, "the relay refuses %.*s",
                 (int)(s->mail->to[s->at - 1].len < 60 ? s->mail->to[s->at - 1].len : 60),
                 s->mail->to[s->at - 1].ptr);
        smtp_note(s, what, line);
    }
    return smtp_next_recipient(s, out);
}

/* RFC 5321 §4.5.2: a dot at the begin of a line is doubled. */
static enum smtp_step smtp_send_text(struct smtp *s, struct buf *out)
{
    slice line, rest = s->mail->text;
    s->state = WAIT_TEXT;
    while (rest.len > 0) {
        slice_cut(rest, '\n', &line, &rest);
        if (line.len > 0 && line.ptr[0] == '.')
            buf_lit(out, ".");
        buf_add(out, line);
        buf_lit(out, "\r\n");
    }
    buf_lit(out, ".\r\n");
    return SMTP_SAY;
}

static void smtp_add_base64(struct buf *out, slice text)
{
    struct buf coded;
    buf_init(&coded, CODED_MAX);
    base64_encode(&coded, text);
    buf_add(out, buf_fit(&coded));
    buf_lit(out, "\r\n");
    buf_fini(&coded);
}

/* RFC 4616: the user is also the identity that it acts as. */
static enum smtp_step smtp_log_in(struct smtp *s, slice line, struct buf *out)
{
    char text[2 * SMTP_LOGIN_MAX + 3];
    if (strlen(s->mail->user) > SMTP_LOGIN_MAX || strlen(s->mail->password) > SMTP_LOGIN_MAX)
        return smtp_fail(s, "the user or the password is too long", line);
    if (s->offers_plain) {
        int len =
            snprintf(text, sizeof text, "%c%s%c%s", '\0', s->mail->user, '\0', s->mail->password);
        ensure(len > 0 && (size_t)len < sizeof text);
        s->state = WAIT_ACCEPTED;
        buf_lit(out, "AUTH PLAIN ");
        smtp_add_base64(out, (slice){ text, (size_t)len });
        mem_wipe(text, sizeof text);
    } else if (s->offers_login) {
        s->state = WAIT_LOGIN;
        buf_lit(out, "AUTH LOGIN\r\n");
    } else {
        return smtp_fail(s, "the relay offers neither AUTH PLAIN nor AUTH LOGIN", line);
    }
    return SMTP_SAY;
}

static enum smtp_step smtp_logging_in(struct smtp *s, slice line, struct buf *out)
{
    const char *text = s->state == WAIT_LOGIN ? s->mail->user : s->mail->password;
    if (s->state == WAIT_ACCEPTED)
        return line.ptr[0] == '2' ? smtp_name_sender(s, out)
                                  : smtp_fail(s, "the relay refuses the login", line);
    if (line.ptr[0] != '3')
        return smtp_fail(s, "the relay refuses the login", line);
    s->state++;
    smtp_add_base64(out, slice_of(text));
    return SMTP_SAY;
}

static enum smtp_step smtp_hello_came(struct smtp *s, slice line, struct buf *out)
{
    bool demands_tls = s->mail->demands_tls || s->mail->user != NULL;
    if (s->secure && s->mail->user != NULL)
        return smtp_log_in(s, line, out);
    if (demands_tls && !s->offers_tls && !s->secure)
        return smtp_fail(s, "the relay offers no STARTTLS", line);
    if (!s->offers_tls || s->secure)
        return smtp_name_sender(s, out);
    s->state = WAIT_TLS;
    buf_lit(out, "STARTTLS\r\n");
    return SMTP_SAY;
}

/* A line of the reply to EHLO: "AUTH PLAIN LOGIN" (RFC 4954 §3). */
static void smtp_offers(struct smtp *s, slice text)
{
    slice word, rest;
    if (slice_eq_nocase(text, SLICE("STARTTLS")))
        s->offers_tls = true;
    slice_cut(text, ' ', &word, &rest);
    if (!slice_eq_nocase(word, SLICE("AUTH")))
        return;
    while (rest.len > 0) {
        slice_cut(rest, ' ', &word, &rest);
        s->offers_plain = s->offers_plain || slice_eq_nocase(word, SLICE("PLAIN"));
        s->offers_login = s->offers_login || slice_eq_nocase(word, SLICE("LOGIN"));
    }
}

/* The last line of a reply. */
static enum smtp_step smtp_reply(struct smtp *s, slice line, struct buf *out)
{
    char kind = line.ptr[0];
    bool good = kind == '2';
    switch (s->state) {
    case WAIT_GREETING:
        return good ? smtp_say_hello(s, s->secure ? WAIT_SECURE_HELLO : WAIT_HELLO, out)
                    : smtp_fail(s, "the relay does not take mail", line);
    case WAIT_HELLO:
    case WAIT_SECURE_HELLO:
        return good ? smtp_hello_came(s, line, out) : smtp_fail(s, "the relay refuses EHLO", line);
    case WAIT_TLS:
        if (!good && (s->mail->demands_tls || s->mail->user != NULL))
            return smtp_fail(s, "the relay refuses STARTTLS", line);
        return good ? SMTP_TLS : smtp_name_sender(s, out);
    case WAIT_LOGIN:
    case WAIT_PASSWORD:
    case WAIT_ACCEPTED:
        return smtp_logging_in(s, line, out);
    case WAIT_SENDER:
        return good ? smtp_next_recipient(s, out)
                    : smtp_fail(s, "the relay refuses the sender", line);
    case WAIT_RECIPIENT:
        return smtp_recipient(s, good, line, out);
    case WAIT_DATA:
        return kind == '3' ? smtp_send_text(s, out)
                           : smtp_fail(s, "the relay does not take the text", line);
    case WAIT_TEXT:
        if (!good)
            return smtp_fail(s, "the relay refuses the mail", line);
        s->state = ENDED;
        buf_lit(out, "QUIT\r\n");
        return SMTP_DONE;
    default:
        return smtp_fail(s, "the relay says more than it was asked", line);
    }
}

enum smtp_step smtp_line(struct smtp *s, slice line, struct buf *out)
{
    bool digits = line.len >= CODE_LEN && line.len <= SMTP_LINE_MAX;
    for (size_t i = 0; digits && i < CODE_LEN; i++)
        digits = line.ptr[i] >= '0' && line.ptr[i] <= '9';
    bool more = digits && line.len > CODE_LEN && line.ptr[CODE_LEN] == '-';
    if (!digits || (line.len > CODE_LEN && line.ptr[CODE_LEN] != ' ' && !more))
        return smtp_fail(s, "this is no reply of a mail relay", line);
    slice word = line.len > CODE_LEN ? slice_from(line, CODE_LEN + 1) : SLICE("");
    if (s->state == WAIT_HELLO || s->state == WAIT_SECURE_HELLO)
        smtp_offers(s, word);
    if (!more) {
        s->lines = 0;
        return smtp_reply(s, line, out);
    }
    return ++s->lines < SMTP_LINES_MAX ? SMTP_MORE
                                       : smtp_fail(s, "the relay's reply does not end", line);
}
