#include "gate/s2s/s2s_judge.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "home/here.h"
#include "im/foreign.h"
#include "im/foreign_ask.h"

struct s2s_judge {
    s2s_judged_fn *done; /* NULL: cancelled */
    void *arg;
    unsigned open; /* questions, and the call that asks them */
    struct outgoing_page page;
    struct outgoing_line lines[OUTGOING_PAGE];
    enum stanza_error errors[OUTGOING_PAGE];
};

/* Lines of one sender. */
struct sender {
    struct s2s_judge *judge;
    unsigned first, behind;
};

static void judge_free(struct s2s_judge *j)
{
    for (unsigned i = 0; i < j->page.count; i++)
        stanza_unref(&j->lines[i].st);
    mem_free(&j);
}

static void judge_ends(struct s2s_judge *j)
{
    ensure(j->open > 0);
    if (--j->open > 0)
        return;
    if (j->done != NULL)
        j->done(j->arg, &j->page, j->errors);
    judge_free(j);
}

static void sender_judged(void *arg, enum stanza_error error)
{
    struct sender *s = arg;
    struct s2s_judge *j = s->judge;
    for (unsigned i = s->first; i < s->behind; i++)
        if (j->errors[i] == SE_NONE)
            j->errors[i] = error;
    mem_free(&s);
    judge_ends(j);
}

static void sender_drop(void *arg)
{
    struct sender *s = arg;
    struct s2s_judge *j = s->judge;
    mem_free(&s);
    j->done = NULL;
    judge_ends(j);
}

/* Of its lines from `first` on, up to `behind`, the first that is no empty one asks for all. */
static void judge_sender(struct s2s_judge *j, struct worker *w, unsigned first, unsigned behind)
{
    unsigned at = first;
    while (at < behind && (j->lines[at].st == NULL || j->errors[at] != SE_NONE))
        at++;
    if (at == behind)
        return;
    struct sender *s = mem_new(struct sender);
    *s = (struct sender){ j, first, behind };
    j->open++;
    foreign_ask(w, j->lines[at].st, sender_judged, sender_drop, s);
}

/* Rules about addresses, which every worker knows. */
static enum stanza_error judge_address(struct worker *w, const struct stanza *st)
{
    struct refusal why = { .error = SE_POLICY_VIOLATION };
    return st == NULL || foreign_leaves(w, st, &why) == PASS ? SE_NONE : why.error;
}

struct s2s_judge *s2s_judge_page(struct worker *w, const struct outgoing_page *page,
                                 s2s_judged_fn *done, void *arg)
{
    struct s2s_judge *j = mem_new(struct s2s_judge);
    ensure(page->error == OK && page->count <= OUTGOING_PAGE);
    j->done = done;
    j->arg = arg;
    j->open = 1;
    j->page = *page;
    j->page.lines = j->lines;
    for (unsigned i = 0; i < page->count; i++) {
        j->lines[i] = page->lines[i];
        if (j->lines[i].st != NULL)
            j->lines[i].st = stanza_ref(page->lines[i].st);
        j->errors[i] = judge_address(w, j->lines[i].st);
    }
    for (unsigned i = 0, next; i < page->count; i = next) {
        for (next = i + 1; next < page->count && j->lines[next].id.sender == j->lines[i].id.sender;)
            next++;
        judge_sender(j, w, i, next);
    }
    bool waits = j->open > 1;
    judge_ends(j);
    return waits ? j : NULL;
}

void s2s_judge_cancel(struct s2s_judge **pj)
{
    struct s2s_judge *j = *pj;
    *pj = NULL;
    if (j != NULL)
        j->done = NULL;
}
