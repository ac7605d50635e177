#include "base/ensure.h"
#include "base/slice.h"
#include "codec/xml_read.h"
#include "xmpp/stream.h"
#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The first byte is the role. Characters that no XML has are what happens on our side; the text
 * between them is what the peer sends. */
enum { FIRST_OF_OURS = 0x0e };
static_assert(FIRST_OF_OURS + STREAM_INPUT_COUNT - STREAM_SECURED <= 0x20, "control characters");

struct run {
    enum stream_role role;
    enum stream_state state;
    struct xml_reader reader;
    struct xml_work *work;
    bool secure, proved, reader_ended;
};

static void take_action(struct run *r, const struct stream_step *step)
{
    bool server = r->role != STREAM_TO_SERVER;
    ensure(step->action != STREAM_FAIL || step->error != XE_NONE);
    ensure(step->action != STREAM_DO_STANZA || (r->proved && r->state == STREAM_BOUND));
    ensure(step->action != STREAM_DO_TLS || !r->secure || !server);
    ensure(step->state < STREAM_AUTHED_OPEN || step->state == STREAM_CLOSED || r->proved);
    if (step->action == STREAM_DO_TLS || step->action == STREAM_RESTART)
        xml_reader_restart(&r->reader);
    r->state = step->state;
}

static void ours(struct run *r, enum stream_input input)
{
    struct stream_step step = stream_step(r->role, r->state, input);
    if (step.action == STREAM_NEVER) /* no caller says that in this state */
        return;
    if (r->state != STREAM_CLOSED) {
        r->proved = r->proved || input == STREAM_PASSED || input == STREAM_PASSED_ON;
        r->secure = r->secure || input == STREAM_SECURED;
    }
    take_action(r, &step);
}

static enum stream_input unit_is(const struct run *r, enum xml_unit u, slice unit)
{
    const struct xml_root *root = &r->work->root;
    if (u == XML_STREAM)
        return STREAM_GOT_HEADER;
    if (u == XML_END)
        return STREAM_GOT_END;
    return stream_input_of(xml_ns(&r->reader, unit, root->ns_stream, root->ns),
                           xml_at(unit, root->name), r->secure);
}

/* Bytes that were taken of what the peer has sent so far. */
static size_t peers(struct run *r, slice text)
{
    size_t done = 0;
    while (done < text.len && !r->reader_ended && stream_reads(r->role, r->state)) {
        size_t used;
        enum xml_unit u = xml_read(&r->reader, r->work, slice_from(text, done), &used);
        if (u == XML_MORE)
            break;
        r->reader_ended = u == XML_ERROR || u == XML_END;
        if (u == XML_SPACE || u == XML_ERROR) {
            done += used;
            continue;
        }
        struct stream_step step =
            stream_step(r->role, r->state, unit_is(r, u, (slice){ text.ptr + done, used }));
        /* it was read, so there is an answer */
        ensure(step.action != STREAM_NEVER && step.action != STREAM_WAIT);
        take_action(r, &step);
        done += used;
    }
    return done;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    struct run r = { .role = (enum stream_role)(data[0] % STREAM_ROLE_COUNT),
                     .work = xml_work_create() };
    xml_reader_init(&r.reader, NULL);
    size_t begin = 1;
    for (size_t i = 1; i <= size; i++) {
        bool text = i < size && (data[i] < FIRST_OF_OURS || data[i] >= 0x20);
        if (text)
            continue;
        begin += peers(&r, (slice){ (const char *)data + begin, i - begin });
        if (i < size && data[i] < FIRST_OF_OURS + STREAM_INPUT_COUNT - STREAM_SECURED)
            ours(&r, (enum stream_input)(STREAM_SECURED + data[i] - FIRST_OF_OURS));
        begin = i + 1; /* what was not taken is lost: the peer stops in the middle of it */
        if (r.reader.parked != NULL)
            break;
    }
    xml_reader_fini(&r.reader);
    xml_work_destroy(&r.work);
    return 0;
}
