#include "io/pace.h"
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

void pace_init(struct pace *p, struct loop *loop, uint32_t every_us, void (*room)(struct pace *p))
{
    *p = (struct pace){ .source.fd = -1, .loop = loop, .every_us = every_us, .room = room };
}

static void pace_ready(struct loop_source *s, uint32_t events)
{
    struct pace *p = CONTAINER_OF(s, struct pace, source);
    uint64_t count;
    (void)events;
    if (read(s->fd, &count, sizeof count) != sizeof count)
        return;
    p->waited = false;
    p->room(p);
}

static bool pace_has_descriptor(struct pace *p)
{
    if (p->source.fd >= 0)
        return true;
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    p->source = (struct loop_source){ .fd = fd, .events = EPOLLIN, .ready = pace_ready };
    if (fd < 0 || loop_add(p->loop, &p->source) == OK)
        return fd >= 0;
    close(fd);
    p->source.fd = -1;
    return false;
}

static bool pace_wait(struct pace *p, uint64_t us)
{
    struct itimerspec in = { .it_value = { (time_t)(us / 1000000), (long)(us % 1000000) * 1000 } };
    p->waited = pace_has_descriptor(p) && timerfd_settime(p->source.fd, 0, &in, NULL) == 0;
    return p->waited;
}

bool pace_take(struct pace *p)
{
    uint64_t now = loop_now_us(p->loop), full = p->full_us > now ? p->full_us : now;
    uint64_t most_us = (PACE_AT_ONCE - 1) * (uint64_t)p->every_us;
    if (p->waited || (full - now > most_us && pace_wait(p, full - now - most_us)))
        return false;
    p->full_us = full + p->every_us;
    return true;
}

void pace_end(struct pace *p)
{
    if (p->loop == NULL || p->source.fd < 0)
        return;
    loop_remove(p->loop, &p->source);
    close(p->source.fd);
    p->source.fd = -1;
    p->waited = false;
}
