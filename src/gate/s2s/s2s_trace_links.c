#include "gate/s2s/s2s_trace_links.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "gate/s2s/s2s_connections.h"
#include "gate/s2s/s2s_partner_list.h"
#include "home/question.h"
#include <stdio.h>

enum { LINK_BYTES = 511 };

struct trace_links {
    struct trace_links_want want; /* link NULL: nobody waits any more. Its texts are not read */
    unsigned connections;
    slice text[S2S_CONNECTIONS_MAX]; /* ptr NULL: there is no such stream */
};

struct links_asked {
    slice local, remote;
};
struct link_told {
    slice text;
    uint8_t number;
};

/* At each worker. */

struct link_line {
    char text[LINK_BYTES + 1];
    size_t len; /* 0: there is no such stream */
};

static void link_shown(const struct s2s_shown *s, void *arg)
{
    struct link_line *line = arg;
    if (strcmp(s->direction, "out") != 0)
        return;
    snprintf(line->text, sizeof line->text,
             "the stream for stanzas: %s for %llu s, stanzas that wait in memory: %u%s%s%s%s%s%.*s",
             s->state, (unsigned long long)s->since_s, s->queue, *s->tls != '\0' ? ", " : "",
             s->tls, *s->auth != '\0' ? ", by " : "", s->auth,
             s->why.len > 0 ? "; last failure: " : "", (int)(s->why.len < 200 ? s->why.len : 200),
             s->why.ptr);
    line->len = utf8_valid_len(slice_of(line->text)); /* it may have been cut */
}

static void streams_asked_run(struct worker *w, void *message, const struct message_from *from)
{
    const struct links_asked *m = message;
    if (s2s_is_ended(w))
        return;
    ensure(s2s_gate_of(w)->connections <= S2S_CONNECTIONS_MAX);
    for (unsigned i = 0; i < s2s_gate_of(w)->connections; i++) {
        struct link_line line = { .len = 0 };
        const struct partner *p =
            partner_find(w, &(struct partner_name){ m->local, m->remote, i }, false);
        if (p != NULL)
            partner_show(p, link_shown, &line);
        if (line.len > 0)
            question_answer(
                w, from, &trace_link_message,
                &(struct link_told){ .text = { line.text, line.len }, .number = (uint8_t)i });
    }
}

static const struct message_field link_told_fields[] = {
    F_BYTES(struct link_told, text, LINK_BYTES),
    F_U8(struct link_told, number, S2S_CONNECTIONS_MAX - 1),
    { 0 },
};
const struct message_row trace_link_message = {
    .id = 105,
    .scope = MESSAGE_PROCESS,
    .name = "trace-link",
    .size = sizeof(struct link_told),
    .fields = link_told_fields,
};
static const struct message_field links_asked_fields[] = {
    F_BARE(struct links_asked, local),
    F_BARE(struct links_asked, remote),
    { 0 },
};
const struct message_row trace_links_message = {
    .id = 108,
    .scope = MESSAGE_PROCESS,
    .name = "trace-links",
    .size = sizeof(struct links_asked),
    .fields = links_asked_fields,
    .run = streams_asked_run,
    .answer = &trace_link_message,
};

/* At the worker that asks. */

static void stream_heard(struct worker *w, void *arg, void *answer, const struct message_from *from)
{
    struct trace_links *l = arg;
    const struct link_told *m = answer;
    (void)w, (void)from;
    ensure(m->number < S2S_CONNECTIONS_MAX);
    if (l->text[m->number].ptr == NULL)
        l->text[m->number] = slice_keep(m->text);
}

static void links_drop(void *arg)
{
    struct trace_links *l = arg;
    for (unsigned i = 0; i < S2S_CONNECTIONS_MAX; i++)
        slice_release(&l->text[i]);
    mem_free(&l);
}

static void streams_heard(struct worker *w, void *arg)
{
    struct trace_links *l = arg;
    const struct trace_links_want want = l->want;
    (void)w;
    for (unsigned i = 0; i < S2S_CONNECTIONS_MAX && want.link != NULL; i++)
        if (l->text[i].ptr != NULL)
            want.link(want.arg, l->connections > 1 ? (int)i : -1, l->text[i]);
    links_drop(l);
    if (want.done != NULL)
        want.done(want.arg);
}

struct trace_links *trace_links_ask(struct worker *w, const struct trace_links_want *want)
{
    struct trace_links *l = mem_zalloc(sizeof *l);
    ensure(want->link != NULL && want->done != NULL);
    l->want = *want;
    l->connections = s2s_gate_of(w)->connections;
    each_home(w, &trace_links_message, &(struct links_asked){ want->local, want->remote },
              &(struct asker){
                  .gather = stream_heard, .done = streams_heard, .arg = l, .drop = links_drop });
    return l;
}

void trace_links_cancel(struct trace_links **l)
{
    if (*l == NULL)
        return;
    (*l)->want.link = NULL;
    (*l)->want.done = NULL;
    *l = NULL;
}
