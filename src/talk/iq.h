/* iq: dispatch of IQ requests to the rows of features, and answers now or later (RFC 6120 §8.2.3).
 * Every request gets exactly one answer. Runs at the home of the addressed account; for the
 * server's own JID at the home of the sender. */
#pragma once
#include "base/err.h"
#include "base/setting.h"
#include "codec/xml_elem.h"
#include "home/origin.h"
#include "home/router.h"
#include "xmpp/stanza.h"

struct account;
struct buf;
struct host;
struct session;
struct worker;
struct xml_write;

enum iq_target {
    IQ_TO_SERVER = 1,  /* a domain of ours */
    IQ_TO_SELF = 2,    /* the sender's own bare JID, or no `to` */
    IQ_TO_ACCOUNT = 4, /* another account's bare JID */
    IQ_TO_HOST = 8,    /* the domain of a service: home/host.h */
    IQ_TO_ROOM = 16    /* a bare JID below such a domain */
};

struct iq {
    struct worker *worker;
    struct stanza *st;   /* a reference */
    struct elem payload; /* the request's child; points into st */
    enum iq_target target;
    const struct host *host; /* of IQ_TO_HOST, IQ_TO_ROOM */
    struct account
        *account; /* the addressed one; NULL for the server and for IQ_TO_ACCOUNT of none */
    struct account
        *sender; /* if the sender's home is here (always so for SELF and SERVER), else NULL */
    struct session
        *session; /* the sender's, if here; may end before a held IQ is answered: see iq_hold() */
    struct origin origin; /* ticket that ends when a held IQ is answered */
    struct arena *tmp;    /* scratch of the call; a held IQ gets an arena of its own */
    bool held, answered;
};

struct iq_rule {
    enum stanza_type type; /* TYPE_GET or TYPE_SET */
    const char *ns, *name; /* of the payload */
    unsigned to;           /* IQ_TO_ bits; others get service-unavailable */
    void (*run)(struct iq *iq);
};

/* Whether the client that sent it logged in here with the password, not by a token. Not of a held
 * one. */
bool iq_by_password(const struct iq *iq);

void iq_result(struct iq *iq, slice payload); /* XML text; may be empty. A held IQ is freed by it */
/* The same from a buffer, which is released. If it has overflowed, the answer is
 * resource-constraint. */
void iq_result_buf(struct iq *iq, struct buf *payload);
void iq_result_xml(struct iq *iq,
                   struct xml_write *x); /* ends all elements; the same with its buffer */
void iq_error(struct iq *iq, enum stanza_error e, slice text);
/* With type and an application element (XML) inside <error/>. */
void iq_error_with(struct iq *iq, enum stanza_error e, slice text, slice app_xml);
/* With a payload of its own in front of <error/>, such as a form. */
void iq_error_form(struct iq *iq, enum stanza_error e, slice text, slice payload);
/* To answer later: a heap copy to keep; session is NULL in it (look it up by st->from when needed),
 * and account stays valid as long as it is held (it is pinned). iq_result/iq_error on it exactly
 * once. */
struct iq *iq_hold(struct iq *iq);
/* A copy of an answer that somebody else has made, a result or an error, is the answer. Borrows. */
void iq_relay(struct iq *iq, const struct stanza *answer);
void iq_forget(struct iq **held); /* memory only: the process ends */

extern struct setting presence_stranger_requests;

/* An IQ on its way (home/router.h): from a session; to an account; to a service, or to a room of
 * one. Each takes over st. */
enum routed iq_from_session(struct session *s, struct stanza *st, struct origin origin);
enum routed iq_to_account(struct account *a, struct stanza *st, struct origin origin);
enum routed iq_to_host(struct worker *w, const struct host *h, struct stanza *st,
                       struct origin origin);
/* A stanza to a service, at the home of the address: requests to its domain go to iq_to_host(), all
 * else to host->receive. */
enum routed host_receive(struct worker *w, const struct host *h, struct stanza *st,
                         struct origin origin);
/* A request to a bare JID below the domain of a service: rules with IQ_TO_ROOM. */
enum routed iq_to_room(struct worker *w, const struct host *h, struct stanza *st,
                       struct origin origin);
enum routed server_receive(struct worker *w, struct stanza *st, struct origin origin);
