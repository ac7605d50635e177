#include "io/tls_private.h"

enum tls_revocation tls_revocation_for(enum tls_usage usage)
{
    return tls_revocation_get(usage == TLS_FOR_CLIENT ? TLS_CLIENTS : TLS_SERVERS);
}

static void say(struct tls_peer *peer, const struct tls_checked *checked, unsigned depth,
                enum tls_verdict verdict, const char *reason)
{
    peer->verdict = verdict;
    peer->reason = reason;
    tls_peer_note(peer, sk_X509_value(checked->chain, (int)depth), (int)depth);
}

static void say_revoked(struct tls_peer *peer, const struct tls_checked *checked, unsigned depth)
{
    say(peer, checked, depth, TLS_REVOKED, "its authority says that it is revoked");
}

/* How many certificates of the chain have an issuer that could revoke them: not the trusted one. */
static unsigned checked_count(const struct tls_checked *c)
{
    int count = sk_X509_num(c->chain);
    return count > 1 ? (unsigned)count - 1 : 0;
}

static enum tls_revoke_end checked_ask(const struct tls_checked *c, unsigned depth,
                                       const struct tls_revoke_shown *shown,
                                       struct tls_revoke_wait *wait)
{
    if ((c->listed >> depth & 1) != 0)
        return TLS_REVOKE_GOOD;
    if (depth >= TLS_ASKS_MAX)
        return TLS_REVOKE_UNKNOWN;
    return tls_revoke_ask(sk_X509_value(c->chain, (int)depth),
                          sk_X509_value(c->chain, (int)depth + 1), shown, wait);
}

static const struct tls_revoke_shown *shown_by(const struct tls_judgement *j)
{
    return j->shown.end != TLS_REVOKE_UNKNOWN ? &j->shown : NULL;
}

/* Servers show answers only to those that connect to them, so what one has shown then counts also
 * when it connects itself. */
static void checked_remember(const struct tls_checked *c, enum tls_usage usage,
                             const struct tls_revoke_shown *shown, struct tls_peer *out)
{
    if (usage != TLS_FOR_CLIENT && out->verdict == TLS_VERIFIED && checked_count(c) > 0 &&
        (c->listed & 1) == 0 &&
        tls_revoke_known(sk_X509_value(c->chain, 0), sk_X509_value(c->chain, 1), shown) ==
            TLS_REVOKE_REVOKED)
        say_revoked(out, c, 0);
}

void tls_judgement_shown(const struct tls_judgement *j)
{
    if (j->shown.end == TLS_REVOKE_REVOKED && checked_count(&j->checked) > 0)
        (void)tls_revoke_known(sk_X509_value(j->checked.chain, 0),
                               sk_X509_value(j->checked.chain, 1), shown_by(j));
}

void tls_judge_again(const struct tls_trust *trust, X509 *cert, STACK_OF(X509) * rest,
                     enum tls_usage usage, struct tls_peer *out)
{
    struct tls_checked checked;
    (void)tls_trust_judge(trust, cert, rest, usage, out, &checked);
    bool asks = tls_revocation_for(usage) >= TLS_REVOKE_ASKED;
    if (tls_revocation_for(usage) == TLS_REVOKE_STAPLED)
        checked_remember(&checked, usage, NULL, out);
    for (unsigned i = 0; asks && out->verdict == TLS_VERIFIED && i < checked_count(&checked); i++)
        if (checked_ask(&checked, i, NULL, NULL) == TLS_REVOKE_REVOKED)
            say_revoked(out, &checked, i);
    tls_checked_free(&checked);
}

/* One certificate of the chain is enough. The others are not waited for then. */
static void judgement_take(struct tls_judgement *j, unsigned depth, enum tls_revoke_end end)
{
    if (end == TLS_REVOKE_REVOKED) {
        say_revoked(&j->peer, &j->checked, depth);
        for (unsigned i = 0; i < TLS_ASKS_MAX; i++)
            list_remove(&j->asks[i].wait.node);
        j->waiting = 0;
    } else if (end == TLS_REVOKE_UNKNOWN && j->unanswered < 0) {
        j->unanswered = (int)depth;
    }
}

static void judgement_end(struct tls_judgement *j)
{
    if (j->peer.verdict == TLS_VERIFIED && j->unanswered >= 0 &&
        j->revocation == TLS_REVOKE_REQUIRED)
        say(&j->peer, &j->checked, (unsigned)j->unanswered, TLS_UNANSWERED,
            "nobody says whether it is revoked, and that is required (tls.servers-revocation, "
            "tls.clients-revocation)");
    tls_checked_free(&j->checked);
}

/* tls_revoke_wait.answered. */
static void judgement_answered(struct tls_revoke_wait *wait, enum tls_revoke_end end)
{
    struct tls_ask *ask = CONTAINER_OF(wait, struct tls_ask, wait);
    struct tls_judgement *j = ask->of;
    j->waiting--;
    judgement_take(j, (unsigned)(ask - j->asks), end);
    if (j->waiting > 0)
        return;
    judgement_end(j);
    j->answered(j);
}

bool tls_judgement_ask(struct tls_judgement *j)
{
    bool asks = j->peer.verdict == TLS_VERIFIED && j->revocation >= TLS_REVOKE_ASKED;
    if (j->revocation == TLS_REVOKE_STAPLED)
        checked_remember(&j->checked, j->usage, shown_by(j), &j->peer);
    for (unsigned i = 0; asks && j->peer.verdict == TLS_VERIFIED && i < checked_count(&j->checked);
         i++) {
        struct tls_revoke_wait *wait = i < TLS_ASKS_MAX ? &j->asks[i].wait : NULL;
        const struct tls_revoke_shown *shown = i == 0 ? shown_by(j) : NULL;
        if (wait != NULL) {
            wait->answered = judgement_answered;
            j->asks[i].of = j;
        }
        enum tls_revoke_end end = checked_ask(&j->checked, i, shown, wait);
        if (end == TLS_REVOKE_WAITS)
            j->waiting++;
        else
            judgement_take(j, i, end);
    }
    if (j->waiting == 0)
        judgement_end(j);
    return j->waiting > 0;
}
