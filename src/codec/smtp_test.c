#include "base/buf.h"
#include "codec/smtp.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static const slice to[] = { SLICE_INIT("ann@a.test"), SLICE_INIT("bob@b.test") };
static const struct smtp_mail mail = { .host = "h.test",
                                       .from = "m@h.test",
                                       .to = to,
                                       .to_count = 2,
                                       .text = SLICE_INIT("Subject: x\n\n.dot\nend\n") };

/* The answer to a line, as text in a static buffer. */
static const char *says(struct smtp *s, const char *line, enum smtp_step step)
{
    static char text[1024];
    struct buf out;
    buf_init(&out, sizeof text);
    assert_int_equal(smtp_line(s, slice_of(line), &out), step);
    slice all = buf_fit(&out);
    memcpy(text, all.len > 0 ? all.ptr : "", all.len);
    text[all.len] = '\0';
    buf_fini(&out);
    return text;
}

static void gives_a_mail(void **state)
{
    struct smtp s;
    (void)state;
    smtp_begin(&s, &mail);
    assert_string_equal(says(&s, "220-hello", SMTP_MORE), "");
    assert_string_equal(says(&s, "220 hello", SMTP_SAY), "EHLO h.test\r\n");
    assert_string_equal(says(&s, "250-a", SMTP_MORE), "");
    assert_string_equal(says(&s, "250 SIZE 9", SMTP_SAY), "MAIL FROM:<m@h.test>\r\n");
    assert_string_equal(says(&s, "250 ok", SMTP_SAY), "RCPT TO:<ann@a.test>\r\n");
    assert_string_equal(says(&s, "550 no", SMTP_SAY), "RCPT TO:<bob@b.test>\r\n");
    assert_string_equal(says(&s, "251 ok", SMTP_SAY), "DATA\r\n");
    assert_string_equal(says(&s, "354 go", SMTP_SAY), "Subject: x\r\n\r\n..dot\r\nend\r\n.\r\n");
    assert_string_equal(says(&s, "250 ok", SMTP_DONE), "QUIT\r\n");
    assert_string_equal(s.note, "the relay refuses ann@a.test: \"550 no\"");
    assert_int_equal(s.later, 0);
}

static void knows_who_is_refused_for_the_moment(void **state)
{
    struct smtp s;
    (void)state;
    smtp_begin(&s, &mail);
    (void)says(&s, "220 hello", SMTP_SAY);
    (void)says(&s, "250 x", SMTP_SAY);
    (void)says(&s, "250 ok", SMTP_SAY);
    (void)says(&s, "250 ok", SMTP_SAY);
    assert_string_equal(says(&s, "450 not now", SMTP_SAY), "DATA\r\n");
    assert_int_equal(s.later, 2);
}

static void takes_up_tls(void **state)
{
    struct smtp s;
    struct buf out;
    (void)state;
    smtp_begin(&s, &mail);
    (void)says(&s, "220 hello", SMTP_SAY);
    (void)says(&s, "250-starttls", SMTP_MORE);
    assert_string_equal(says(&s, "250 x", SMTP_SAY), "STARTTLS\r\n");
    struct smtp refused = s;
    assert_string_equal(says(&refused, "454 not now", SMTP_SAY), "MAIL FROM:<m@h.test>\r\n");
    assert_string_equal(says(&s, "220 go", SMTP_TLS), "");
    buf_init(&out, 100);
    assert_int_equal(smtp_secured(&s, &out), SMTP_SAY);
    buf_fini(&out);
    (void)says(&s, "250-STARTTLS", SMTP_MORE); /* not twice */
    assert_string_equal(says(&s, "250 x", SMTP_SAY), "MAIL FROM:<m@h.test>\r\n");
}

static void demands_tls(void **state)
{
    struct smtp_mail strict = mail;
    struct smtp s;
    (void)state;
    strict.demands_tls = true;
    smtp_begin(&s, &strict);
    (void)says(&s, "220 hello", SMTP_SAY);
    struct smtp refused = s;
    (void)says(&s, "250 x", SMTP_FAILED);
    assert_string_equal(s.note, "the relay offers no STARTTLS: \"250 x\"");
    (void)says(&refused, "250 STARTTLS", SMTP_SAY);
    (void)says(&refused, "454 not now", SMTP_FAILED);
    assert_int_equal(smtp_too_early(&s), SMTP_FAILED);
    assert_string_equal(s.note, "the relay says more than it was asked");
}

static struct smtp logging_in(const struct smtp_mail *m, const char *offers)
{
    struct smtp s;
    smtp_begin(&s, m);
    (void)says(&s, "220 hello", SMTP_SAY);
    (void)says(&s, offers, SMTP_MORE);
    return s;
}

static void logs_in_under_tls(void **state)
{
    struct smtp_mail m = mail;
    (void)state;
    m.user = "muster";
    m.password = "pencil";
    struct smtp clear = logging_in(&m, "250-AUTH PLAIN"); /* never in the clear */
    assert_string_equal(says(&clear, "250 x", SMTP_FAILED), "");
    assert_string_equal(clear.note, "the relay offers no STARTTLS: \"250 x\"");
    struct smtp later = logging_in(&m, "250-STARTTLS");
    assert_string_equal(says(&later, "250 AUTH PLAIN", SMTP_SAY), "STARTTLS\r\n");
    assert_string_equal(says(&later, "454 not now", SMTP_FAILED), "");
    m.tls_first = true;
    struct smtp s = logging_in(&m, "250-auth login plain");
    assert_string_equal(says(&s, "250 x", SMTP_SAY), "AUTH PLAIN AG11c3RlcgBwZW5jaWw=\r\n");
    struct smtp refused = s;
    assert_string_equal(says(&s, "235 ok", SMTP_SAY), "MAIL FROM:<m@h.test>\r\n");
    assert_string_equal(says(&refused, "535 no", SMTP_FAILED), "");
    assert_string_equal(refused.note, "the relay refuses the login: \"535 no\"");
    struct smtp old = logging_in(&m, "250-AUTH CRAM-MD5 LOGIN");
    assert_string_equal(says(&old, "250 x", SMTP_SAY), "AUTH LOGIN\r\n");
    assert_string_equal(says(&old, "334 VXNlcm5hbWU6", SMTP_SAY), "bXVzdGVy\r\n");
    assert_string_equal(says(&old, "334 UGFzc3dvcmQ6", SMTP_SAY), "cGVuY2ls\r\n");
    assert_string_equal(says(&old, "235 ok", SMTP_SAY), "MAIL FROM:<m@h.test>\r\n");
    struct smtp none = logging_in(&m, "250-AUTH CRAM-MD5");
    assert_string_equal(says(&none, "250 x", SMTP_FAILED), "");
}

static void says_why_not(void **state)
{
    struct smtp s;
    (void)state;
    smtp_begin(&s, &mail);
    (void)says(&s, "554 go away", SMTP_FAILED);
    assert_string_equal(s.note, "the relay does not take mail: \"554 go away\"");
    smtp_begin(&s, &mail);
    (void)says(&s, "hello", SMTP_FAILED);
    smtp_begin(&s, &mail);
    (void)says(&s, "220_x", SMTP_FAILED);
    smtp_begin(&s, &mail);
    for (unsigned i = 1; i < SMTP_LINES_MAX; i++)
        (void)says(&s, "220-x", SMTP_MORE);
    (void)says(&s, "220-x", SMTP_FAILED);
    smtp_begin(&s, &mail);
    (void)says(&s, "220 x", SMTP_SAY);
    (void)says(&s, "250 x", SMTP_SAY);
    (void)says(&s, "250 x", SMTP_SAY);
    (void)says(&s, "550 x", SMTP_SAY);
    (void)says(&s, "550 y", SMTP_FAILED); /* all recipients are refused */
}

static void knows_addresses(void **state)
{
    (void)state;
    assert_true(smtp_address_ok(SLICE("a@b")));
    assert_true(smtp_address_ok(SLICE("a.b+c@x-y.test")));
    static const char *const none[] = { "",      "a",     "@b",    "a@",   "a@b@c",
                                        "a b@c", "<a@b>", "a@b\r", "a,b@c" };
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++)
        assert_false(smtp_address_ok(slice_of(none[i])));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_a_mail),      cmocka_unit_test(knows_who_is_refused_for_the_moment),
        cmocka_unit_test(takes_up_tls),      cmocka_unit_test(demands_tls),
        cmocka_unit_test(logs_in_under_tls), cmocka_unit_test(says_why_not),
        cmocka_unit_test(knows_addresses),
    };
    return cmocka_run_group_tests_name("codec/smtp", tests, NULL, NULL);
}
