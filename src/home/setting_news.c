#include "home/setting_news.h"
#include "base/ensure.h"
#include "base/setting.h"
#include "home/message.h"
#include "home/node.h"
#include "home/worker.h"

/* A process has one node; tests have two. A node is added and taken out by main's thread while its
 * workers do not run; settings are written by a worker, or by that thread. */
enum { NEWS_NODES_MAX = 4 };
static _Atomic(struct node *) news_nodes[NEWS_NODES_MAX];

/* On the thread that wrote. */
static void news_listener(void)
{
    for (unsigned i = 0; i < NEWS_NODES_MAX; i++) {
        struct node *n = atomic_load(&news_nodes[i]);
        for (unsigned k = 0; n != NULL && k < n->worker_count; k++)
            home_post(n, k, &setting_news_message);
    }
}

void setting_news_start(struct node *n)
{
    unsigned i = 0;
    while (i < NEWS_NODES_MAX && atomic_load(&news_nodes[i]) != NULL)
        i++;
    ensure(i < NEWS_NODES_MAX);
    atomic_store(&news_nodes[i], n);
    setting_listen(news_listener);
}

void setting_news_end(const struct node *n)
{
    for (unsigned i = 0; i < NEWS_NODES_MAX; i++)
        if (atomic_load(&news_nodes[i]) == n)
            atomic_store(&news_nodes[i], NULL);
}

void setting_news_begin(struct worker *w) { w->settings_seen = setting_changes(); }

static void setting_news_run(struct worker *w, void *message, const struct message_from *from)
{
    uint32_t seen = w->settings_seen;
    (void)message, (void)from;
    setting_news_begin(w);
    ensure((int32_t)(w->settings_seen - seen) >= 0);
    for (const struct setting *s = setting_first(); s != NULL; s = s->next)
        if ((int32_t)(atomic_load(&s->changed_at) - seen) > 0) /* it wraps */
            s->changed(w, s);
}

const struct message_row setting_news_message = {
    .id = 25,
    .scope = MESSAGE_PROCESS,
    .name = "settings",
    .size = sizeof(struct message_nothing),
    .fields = message_no_fields,
    .run = setting_news_run,
};

void setting_news_wait(struct worker *w, const struct asker *by)
{
    each_home(w, &setting_news_message, &(struct message_nothing){ 0 }, by);
}
