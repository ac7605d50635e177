/* doctor_net: how a domain is found: its SRV records (RFC 6120 §3.2, XEP-0368), or the
 * domain itself where there are none, and whether the addresses that they lead to can be reached
 * from this machine; from outside, whether they speak XMPP as well. One domain after the other;
 * DOCTOR_TARGETS_MAX hosts of one record set are tried, each for DOCTOR_REACH_MS. On a loop. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

struct command_call;
struct doctor_net;
struct loop;
struct node_file;
struct resolver;

enum { DOCTOR_TARGETS_MAX = 4, DOCTOR_REACH_MS = 4000 };

struct doctor_net_options {
    struct command_call *call; /* rows are added to it, and its arena is used */
    const struct node_file *file;
    struct loop *loop;
    struct resolver *resolver;
    bool outside; /* not at the node of the file: whether it is that one that answers is not looked
                   * at */
    void (*done)(void *arg); /* later, from the loop; not after doctor_net_cancel() */
    void *arg;
};
/* It lives in the arena. */
struct doctor_net *doctor_net_start(const struct doctor_net_options *options);
void doctor_net_cancel(struct doctor_net *n);
