/* node_finding: what the check of a node file finds, a line each, and of what kind it is, which
 * decides what mends it. Findings stand in the order in which they were found, and live in the
 * arena.
 *
 * Limit: what a node file can name: CHECK_BYTES_MAX of lines are written. */
#pragma once
#include <stddef.h>

struct arena;
struct buf;

enum node_kind {
    NODE_DATA_MISSING,   /* the data folder, or what is above it */
    NODE_DATA_CLOSED,    /* it, or what is in it, is not for the user of the server */
    NODE_KEY_OPEN,       /* others may use a key in it */
    NODE_KEY_DAMAGED,    /* that is no key */
    NODE_CONTROL_CLOSED, /* the folder of the control socket */
    NODE_ADDRESS_USED,   /* of a listener: by another program */
    NODE_ADDRESS_OTHER,  /* of another machine, or none */
    NODE_ADDRESS_LOW,    /* a port below 1024, for which the user has no right */
    NODE_ADDRESS_BAD,    /* anything else */
    NODE_CERT_CLOSED,    /* a certificate or key that the user of the server cannot read */
    NODE_CERT_BAD,       /* clients refuse it, or may; or none is there */
    NODE_KINDS
};
enum node_weight { NODE_NOTE, NODE_MISTAKE };

struct node_finding {
    struct node_finding *next;
    enum node_kind kind;
    enum node_weight weight;
    const char *path; /* of the file or folder that is to be mended; "": none */
    const char *text; /* without a line end */
};
struct node_findings {
    struct arena *arena;
    struct node_finding *first, **end;
};

void node_findings_init(struct node_findings *f, struct arena *arena);
void node_find(struct node_findings *f, enum node_kind kind, enum node_weight weight,
               const char *path, const char *fmt, ...) __attribute__((format(printf, 5, 6)));
/* Those of one weight, each with a line end. */
void node_findings_write(const struct node_findings *f, enum node_weight weight, struct buf *out);
