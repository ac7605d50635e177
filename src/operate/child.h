/* child: a program of the system that does an errand for the server. It reads nothing, and what it
 * writes to its standard error is kept for the one who reads the log. Its end is awaited by the
 * loop; at its deadline it is killed. */
#pragma once
#include "io/loop.h"
#include "io/timer.h"
#include <stdbool.h>
#include <sys/types.h>

enum { CHILD_TEXT_BYTES = 512 };

/* Embedded in its owner; zeroed at first, and between two runs. */
struct child {
    struct loop *loop; /* NULL: none runs */
    pid_t pid;
    struct loop_source process, output;
    struct timer due;
    bool late; /* killed at its deadline */
    char text[CHILD_TEXT_BYTES];
    size_t len;
    /* code: its exit status; -1: it was killed. text: what it has written, or "it took too long".
     * Valid during the call. From the loop, never from inside child_start(). */
    void (*done)(struct child *c, int code, const char *text);
};

/* argv[0] is looked for in PATH. argv and env end with NULL and are copied by the kernel. NULL: it
 * runs, and done() follows once; else why not, static text: ENOENT is "not found". */
NODISCARD const char *child_start(struct child *c, struct loop *loop, char *const *argv,
                                  char *const *env, uint32_t deadline_ms);
void child_cancel(struct child *c); /* ends it; no done() follows */
