/* A message of a room to a hundred sessions of one worker, each of an account of its own: to
 * streams that only count it; to streams that write it out, as the gate does; and the latter with
 * stream management, acknowledged every fifth. */
#include "base/arena.h"
#include "base/clock.h"
#include "base/mem.h"
#include "component/component_shown.h"
#include "core/audience.h"
#include "core/test_node.h"
#include "presence/caps.h"
#include "presence/presence_in.h"
#include "presence/roster_account.h"

enum { MEMBERS = 100, ROUNDS = 20000, OUT_BYTES = 1 << 14 };

struct stream {
    uint64_t id;
    uint64_t got;
    uint32_t wanted; /* an acknowledgement is asked for */
    char *out;       /* of the stream, as its connection has one */
    size_t at;
};

static bool writing;

static void gate_down(struct stream *s, const struct down *d)
{
    s->wanted += d->kind == DOWN_REQUEST;
    if (d->kind != DOWN_STANZA)
        return;
    s->got++;
    if (!writing)
        return;
    if (s->at + stanza_write_max(d->st, d->note) > OUT_BYTES)
        s->at = 0;
    s->at += stanza_write(s->out + s->at, d->st, d->note);
}
static const struct gate_ops gate = { .down = gate_down };

static struct stream stream[MEMBERS];
static struct session *session[MEMBERS];

static void acknowledge(void)
{
    for (unsigned i = 0; i < MEMBERS; i++) {
        if (stream[i].wanted == 0)
            continue;
        stream[i].wanted = 0;
        session_up(session[i], &(struct up){ .kind = UP_ACK,
                                             .num = session[i]->out_count - session[i]->out_base });
    }
}

static double delivered_ns(struct audience *a, struct stanza *st)
{
    uint64_t start = clock_mono_us();
    for (unsigned i = 0; i < ROUNDS; i++) {
        audience_send(a, st, NULL);
        acknowledge();
    }
    return (double)(clock_mono_us() - start) * 1000 / ROUNDS / MEMBERS;
}

static const struct feature *const features[] = {
    &test_auth_feature, &account_feature,
    &session_feature,   &message_feature,
    &roster_feature,    &presence_feature,
    &caps_feature,      &component_shown_feature,
    &audience_feature,  NULL,
};

int main(void)
{
    struct test_node t;
    struct audience a;
    test_features_use(features);
    test_node_open(&t, &gate);
    audience_init(&a, t.w, SLICE("room@conference.localhost"));
    for (unsigned i = 0; i < MEMBERS; i++) {
        char jid[32];
        snprintf(jid, sizeof jid, "u%u@localhost", i);
        stream[i].out = mem_alloc(OUT_BYTES);
        session[i] = test_node_bind(&t, test_node_account(&t, jid), &stream[i], "r");
        ensure(audience_add(&a, &(struct audience_member){ .jid = session_jid(session[i]) }));
    }
    struct stanza *st = test_node_stanza(&t, "<message from='room@conference.localhost/nick' "
                                             "type='groupchat' id='1'><body>How are you?</body>"
                                             "<stanza-id xmlns='urn:xmpp:sid:0' id='1' "
                                             "by='room@conference.localhost'/></message>");
    printf("audience.delivery %.1f ns\n", delivered_ns(&a, st));
    writing = true;
    printf("audience.delivery.written %.1f ns\n", delivered_ns(&a, st));
    for (unsigned i = 0; i < MEMBERS; i++)
        session_up(session[i], &(struct up){ .kind = UP_ENABLE, .num = 1 });
    printf("audience.delivery.sm %.1f ns\n", delivered_ns(&a, st));
    for (unsigned i = 0; i < MEMBERS; i++) {
        ensure(stream[i].got == 3 * ROUNDS && session[i]->queue_len < 5);
        mem_free(&stream[i].out);
    }
    stanza_unref(&st);
    audience_fini(&a);
    test_node_close(&t);
    return 0;
}
