#include "base/buf.h"
#include "base/ensure.h"
#include "codec/smtp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { OUT_MAX = 1 << 16, STEPS_MAX = 1000 };

/* Lines of a relay: each is answered at most once, and the end comes in a bounded time. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const slice to[] = { SLICE_INIT("ann@a.test"), SLICE_INIT("bob@b.test") };
    const struct smtp_mail mail = { .host = "a.test",
                                    .from = "muster@a.test",
                                    .to = to,
                                    .to_count = 2,
                                    .demands_tls = size % 2 == 1,
                                    .tls_first = size % 3 == 1,
                                    .user = size % 5 < 3 ? "muster" : NULL,
                                    .password = "secret",
                                    .text = SLICE_INIT("Subject: x\n\n.dot\ntext\n") };
    slice line, rest = { (const char *)data, size };
    struct smtp s;
    struct buf out;
    buf_init(&out, OUT_MAX);
    smtp_begin(&s, &mail);
    for (unsigned i = 0; rest.len > 0 && i < STEPS_MAX; i++) {
        slice_cut(rest, '\n', &line, &rest);
        enum smtp_step step = smtp_line(&s, line, &out);
        if (step == SMTP_TLS)
            step = smtp_secured(&s, &out);
        ensure(memchr(s.note, '\0', sizeof s.note) != NULL);
        ensure(step != SMTP_FAILED || s.note[0] != '\0');
        if (step == SMTP_FAILED || step == SMTP_DONE)
            break;
    }
    ensure(!out.overflow && s.at <= mail.to_count && s.refused <= s.at);
    (void)smtp_address_ok((slice){ (const char *)data, size });
    buf_fini(&out);
    return 0;
}
