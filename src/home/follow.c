#include "home/follow.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/log.h"
#include "codec/xml_write.h"
#include "xmpp/stanza.h"
#include <pthread.h>

/* A text of one byte is shown as three. */
enum { MASKED_BYTES_MAX = 3 * XML_STANZA_MAX };

struct log_area log_follow = {
    .name = "trace", .permission = "trace.read", .whole = true, .asked = true
};
struct log_area log_follow_bodies = { .name = "trace-bodies",
                                      .permission = "compliance.read",
                                      .whole = true,
                                      .asked = true,
                                      .unwritten = true };

_Atomic unsigned follow_count;

static pthread_mutex_t follow_lock = PTHREAD_MUTEX_INITIALIZER;
static struct followed all[FOLLOW_MAX]; /* the first follow_count; bare, owner are kept */

static void follow_drop(unsigned i)
{
    ensure(i < follow_count);
    slice_release(&all[i].bare);
    slice_release(&all[i].owner);
    all[i] = all[--follow_count];
    all[follow_count] = (struct followed){ 0 };
}

static void follow_expire(uint64_t now_us)
{
    for (unsigned i = follow_count; i-- > 0;)
        if (all[i].until_us <= now_us)
            follow_drop(i);
}

static struct followed *follow_find(slice bare)
{
    for (unsigned i = 0; i < follow_count; i++)
        if (slice_eq(all[i].bare, bare))
            return &all[i];
    return NULL;
}

bool follow_begin(const struct followed *one, uint64_t now_us)
{
    pthread_mutex_lock(&follow_lock);
    follow_expire(now_us);
    struct followed *at = follow_find(one->bare);
    bool room = at != NULL || follow_count < FOLLOW_MAX;
    if (at == NULL && room) {
        at = &all[follow_count++];
        at->bare = slice_keep(one->bare);
    }
    if (room) {
        slice_release(&at->owner);
        at->owner = slice_keep(one->owner);
        at->until_us = one->until_us;
        at->how = one->how;
    }
    pthread_mutex_unlock(&follow_lock);
    return room;
}

bool follow_end(slice bare)
{
    pthread_mutex_lock(&follow_lock);
    const struct followed *at = follow_find(bare);
    if (at != NULL)
        follow_drop((unsigned)(at - all));
    pthread_mutex_unlock(&follow_lock);
    return at != NULL;
}

void follow_sweep(bool (*keeps)(const struct followed *one, void *arg), void *arg)
{
    ensure(keeps != NULL);
    pthread_mutex_lock(&follow_lock);
    for (unsigned i = follow_count; i-- > 0;)
        if (!keeps(&all[i], arg))
            follow_drop(i);
    pthread_mutex_unlock(&follow_lock);
}

void follow_each(uint64_t now_us, void (*fn)(const struct followed *one, void *arg), void *arg)
{
    pthread_mutex_lock(&follow_lock);
    follow_expire(now_us);
    for (unsigned i = 0; i < follow_count; i++)
        fn(&all[i], arg);
    pthread_mutex_unlock(&follow_lock);
}

/* false: nobody follows it, or no longer. */
static bool follow_looks_at(slice jid, uint64_t now_us, enum xml_mask *how)
{
    slice bare, resource;
    slice_cut(jid, '/', &bare, &resource);
    pthread_mutex_lock(&follow_lock);
    follow_expire(now_us);
    const struct followed *at = follow_find(bare);
    if (at != NULL)
        *how = at->how;
    pthread_mutex_unlock(&follow_lock);
    return at != NULL;
}

void follow_log(slice jid, const char *event, const struct stanza *st, uint64_t now_us)
{
    struct buf text, shown;
    enum xml_mask how;
    if (!follow_looks_at(jid, now_us, &how))
        return;
    buf_init(&text, XML_STANZA_MAX);
    buf_init(&shown, MASKED_BYTES_MAX);
    stanza_store(&text, st);
    xml_mask(&shown, buf_fit(&text), how);
    slice xml = buf_fit(&shown);
    xml.len = xml.len < FOLLOW_SHOWN_MAX ? xml.len : FOLLOW_SHOWN_MAX;
    log_info(how == XML_MASK_BUT_BODIES ? &log_follow_bodies : &log_follow, LOG_C("event", event),
             LOG_S("jid", jid), LOG_I("bytes", st->bytes), LOG_S("xml", xml));
    buf_fini(&text);
    buf_fini(&shown);
}
