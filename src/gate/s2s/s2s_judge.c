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
    struct edge_word words[OUTGOING_PAGE];
};

/* Lines of one sender to one address, alike in kind and type. */
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
        j->done(j->arg, &j->page, j->words);
    judge_free(j);
}

static void sender_judged(void *arg, struct edge_word word)
{
    struct sender *s = arg;
    struct s2s_judge *j = s->judge;
    for (unsigned i = s->first; i < s->behind; i++)
        if (edge_word_goes(&j->words[i])) {
            bool bare = j->words[i].bare || word.bare;
            j->words[i] = word;
            j->words[i].bare = bare;
        }
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
    while (at < behind && (j->lines[at].st == NULL || !edge_word_goes(&j->words[at])))
        at++;
    if (at == behind)
        return;
    struct sender *s = mem_new(struct sender);
    *s = (struct sender){ j, first, behind };
    j->open++;
    foreign_ask(w, j->lines[at].st, sender_judged, sender_drop, s);
}

/* Rules about addresses, which every worker knows. */
static struct edge_word judge_address(struct worker *w, const struct stanza *st)
{
    return st == NULL ? (struct edge_word){ 0 } : foreign_leaves(w, st, true);
}

static bool is_alike(const struct outgoing_line *a, const struct outgoing_line *b)
{
    return a->st != NULL && b->st != NULL && a->st->kind == b->st->kind &&
           a->st->type == b->st->type && a->st->named == b->st->named &&
           slice_eq(stanza_from_bare(a->st), stanza_from_bare(b->st)) &&
           slice_eq(stanza_to_bare(a->st), stanza_to_bare(b->st));
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
        j->words[i] = judge_address(w, j->lines[i].st);
    }
    for (unsigned i = 0, next; i < page->count; i = next) {
        for (next = i + 1; next < page->count && is_alike(&j->lines[i], &j->lines[next]);)
            next++;
        judge_sender(j, w, i, next);
    }
    bool waits = j->open > 1;
    judge_ends(j);
    return waits ? j : NULL;
}

bool s2s_judge_has(const struct s2s_judge *j, slice sender)
{
    for (unsigned i = 0; i < j->page.count; i++)
        if (j->lines[i].st != NULL && slice_eq(stanza_from_bare(j->lines[i].st), sender))
            return true;
    return false;
}

void s2s_judge_cancel(struct s2s_judge **pj)
{
    struct s2s_judge *j = *pj;
    *pj = NULL;
    if (j != NULL)
        j->done = NULL;
}
