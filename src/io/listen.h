/* listen: a listening socket shared by all loops (EPOLLEXCLUSIVE), at most 16 accepts a wake. When
 * the last 32 descriptors are reached (of few: an eighth), accepting pauses on that loop, the alarm
 * `io.descriptors` is raised, and each second it is tried again (architecture §9): clients that
 * connect meanwhile wait in the queue of the kernel. Unix sockets, which operators use, may take
 * the last descriptors, too. */
#pragma once
#include "base/err.h"
#include "base/slice.h"
#include "io/loop.h"
#include <netinet/in.h>

struct alarm;
extern struct alarm io_descriptors_alarm; /* a row for app/ to register */

struct listener; /* one per socket; add it to each loop */

/* "[::]:5222", "127.0.0.1:5222", "unix:/run/x.sock" (mode 0660). Port 0 is allowed (tests).
 * E_SYNTAX; E_EXISTS: in use; E_NOTFOUND: no address of this machine; E_DENIED; E_IO. */
NODISCARD enum err listener_open(struct listener **out, slice address, struct why *why);
int listener_port(const struct listener *l);
/* accepted() owns the fd. Called on the loop that won it. */
typedef void listener_fn(struct loop *loop, int fd, const struct sockaddr *peer, void *arg);
NODISCARD enum err listener_attach(struct listener *l, struct loop *loop, listener_fn *accepted,
                                   void *arg);
/* On that loop's thread, but not from accepted(). */
void listener_detach(struct listener *l, struct loop *loop);
void listener_close(struct listener **l); /* after all were detached */

/* One of the last descriptors, which are kept for the Unix sockets of operators and for files. */
bool descriptor_is_spare(int fd);
