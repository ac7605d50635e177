/* doctor_net: how a domain is found: its SRV records (RFC 6120 §3.2, XEP-0368), or the
 * domain itself where there are none, and whether the addresses that they lead to can be reached
 * from this machine; from outside, also whether they speak XMPP and have a certificate that clients
 * and other servers accept. One domain after the other;
 * DOCTOR_TARGETS_MAX hosts of one record set are tried, each for DOCTOR_REACH_MS. On a loop. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

struct command_call;
struct doctor_net;
struct loop;
struct node_file;
struct resolver;
struct tls_trust;

enum { DOCTOR_TARGETS_MAX = 4, DOCTOR_REACH_MS = 4000 };

struct doctor_net_options {
    struct command_call *call; /* rows are added to it, and its arena is used */
    const struct node_file *file;
    struct loop *loop;
    struct resolver *resolver;
    /* Certificates are judged by it, and it is not looked at whether it is the node of the file
     * that answers: from outside. NULL: at that node. */
    struct tls_trust *outside;
    void (*done)(void *arg); /* later, from the loop; not after doctor_net_cancel() */
    void *arg;
};
/* It lives in the arena. */
struct doctor_net *doctor_net_start(const struct doctor_net_options *options);
void doctor_net_cancel(struct doctor_net *n);
