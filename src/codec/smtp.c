#include "codec/smtp.h"
#include "base/buf.h"
#include "base/ensure.h"
#include <stdio.h>

enum { ADDRESS_MAX = 254, CODE_LEN = 3, SHOWN_MAX = 100 };

enum state {
    WAIT_GREETING,
    WAIT_HELLO,
    WAIT_TLS,
    WAIT_SECURE_HELLO,
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
    ensure(mail->to_count > 0);
    *s = (struct smtp){ .mail = mail, .state = WAIT_GREETING };
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
    s->offers_tls = false;
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

static enum smtp_step smtp_hello_came(struct smtp *s, slice line, struct buf *out)
{
    if (s->mail->demands_tls && !s->offers_tls && !s->secure)
        return smtp_fail(s, "the relay offers no STARTTLS", line);
    if (!s->offers_tls || s->secure)
        return smtp_name_sender(s, out);
    s->state = WAIT_TLS;
    buf_lit(out, "STARTTLS\r\n");
    return SMTP_SAY;
}

/* The last line of a reply. */
static enum smtp_step smtp_reply(struct smtp *s, slice line, struct buf *out)
{
    char kind = line.ptr[0];
    bool good = kind == '2';
    switch (s->state) {
    case WAIT_GREETING:
        return good ? smtp_say_hello(s, WAIT_HELLO, out)
                    : smtp_fail(s, "the relay does not take mail", line);
    case WAIT_HELLO:
    case WAIT_SECURE_HELLO:
        return good ? smtp_hello_came(s, line, out) : smtp_fail(s, "the relay refuses EHLO", line);
    case WAIT_TLS:
        if (!good && s->mail->demands_tls)
            return smtp_fail(s, "the relay refuses STARTTLS", line);
        return good ? SMTP_TLS : smtp_name_sender(s, out);
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
    if (s->state == WAIT_HELLO && slice_eq_nocase(word, SLICE("STARTTLS")))
        s->offers_tls = true;
    if (!more) {
        s->lines = 0;
        return smtp_reply(s, line, out);
    }
    return ++s->lines < SMTP_LINES_MAX ? SMTP_MORE
                                       : smtp_fail(s, "the relay's reply does not end", line);
}
