/* listen: a listening socket shared by all loops (EPOLLEXCLUSIVE), at most 16 accepts a wake, a spare
 * descriptor for EMFILE: then accepting pauses on that loop, the alarm `io.descriptors` is raised, and
 * it resumes by itself when descriptors are free again (design §9). */
#pragma once
#include "base/err.h"
#include "io/loop.h"
#include <netinet/in.h>

struct listener; /* one per socket; add it to each loop */

/* "[::]:5222", "127.0.0.1:5222", "unix:/run/x.sock" (mode 0660). Port 0 is allowed (tests). */
NODISCARD enum err listener_open(struct listener **out, slice address, struct why *why);
int listener_port(const struct listener *l);
/* accepted() owns the fd. Called on the loop that won it. */
typedef void listener_fn(struct loop *loop, int fd, const struct sockaddr *peer, void *arg);
NODISCARD enum err listener_attach(struct listener *l, struct loop *loop, listener_fn *accepted, void *arg);
void listener_detach(struct listener *l, struct loop *loop); /* on that loop's thread */
void listener_close(struct listener **l);                    /* after all detached */
