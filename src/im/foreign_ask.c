#include "im/foreign_ask.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "home/here.h"
#include "home/question.h"
#include "im/account.h"
#include "im/foreign.h"

struct may_leave {
    struct stanza *st;
};
struct may_leave_answer {
    uint8_t error; /* enum stanza_error; of one that is dropped: for nodes that do not know this */
    bool silent, bare; /* struct edge_word */
    uint8_t named;     /* enum stanza_named */
};

/* At the home of the sender. */
struct judging {
    struct worker *worker;
    struct message_from from;
    struct stanza *st;
};

/* An account that cannot be loaded has no rules that are known. */
static void judging_end(struct account *a, enum err e, void *arg)
{
    struct judging *j = arg;
    (void)a, (void)e;
    struct edge_word word = foreign_leaves(j->worker, j->st, true);
    question_answer(j->worker, &j->from, &foreign_ask_answer,
                    &(struct may_leave_answer){
                        .error = word.silent ? SE_POLICY_VIOLATION : (uint8_t)word.error,
                        .silent = word.silent,
                        .bare = word.bare,
                        .named = (uint8_t)word.named,
                    });
    question_end(j->worker, &j->from);
    stanza_unref(&j->st);
    mem_free(&j);
}

static void may_leave_run(struct worker *w, void *message, const struct message_from *from)
{
    struct may_leave *m = message;
    struct judging *j = mem_new(struct judging);
    *j = (struct judging){ w, *from, m->st };
    m->st = NULL;
    account_with(w, stanza_from_bare(j->st), judging_end, j);
}

static bool may_leave_is_sound(struct worker *w, const void *message,
                               const struct message_from *from)
{
    const struct may_leave *m = message;
    (void)w, (void)from;
    return m->st->from_len > 0 && m->st->to_len > 0;
}

static const struct message_field answer_fields[] = {
    F_U8(struct may_leave_answer, error, STANZA_ERROR_COUNT - 1),
    F_BOOL(struct may_leave_answer, silent),
    F_BOOL(struct may_leave_answer, bare),
    F_U8(struct may_leave_answer, named, NAMED_MAIL),
    { 0 },
};
static const struct message_field fields[] = {
    F_STANZA(struct may_leave, st),
    { 0 },
};
const struct message_row foreign_ask_answer = {
    .id = 107,
    .scope = MESSAGE_CLUSTER,
    .name = "may-leave-answer",
    .size = sizeof(struct may_leave_answer),
    .fields = answer_fields,
};
const struct message_row foreign_ask_message = {
    .id = 106,
    .scope = MESSAGE_CLUSTER,
    .name = "may-leave",
    .size = sizeof(struct may_leave),
    .fields = fields,
    .run = may_leave_run,
    .sound = may_leave_is_sound,
    .answer = &foreign_ask_answer,
    .later = true,
};

/* Who asks. */
struct asking {
    foreign_ask_fn *done;
    void (*drop)(void *arg);
    void *arg;
    struct edge_word word;
};

static void asking_heard(struct worker *w, void *arg, void *answer, const struct message_from *from)
{
    (void)w, (void)from;
    const struct may_leave_answer *m = answer;
    ((struct asking *)arg)->word = (struct edge_word){
        .error = m->silent ? SE_NONE : (enum stanza_error)m->error,
        .silent = m->silent,
        .bare = m->bare,
        .named = (enum stanza_named)m->named,
    };
}

static void asking_end(struct worker *w, void *arg)
{
    struct asking a = *(struct asking *)arg;
    (void)w;
    mem_free(&arg);
    a.done(a.arg, a.word);
}

static void asking_drop(void *arg)
{
    struct asking a = *(struct asking *)arg;
    mem_free(&arg);
    a.drop(a.arg);
}

void foreign_ask(struct worker *w, struct stanza *st, foreign_ask_fn *done, void (*drop)(void *arg),
                 void *arg)
{
    struct asking *a = mem_new(struct asking);
    ensure(worker_is_here(w) && st->from_len > 0 && st->to_len > 0);
    *a = (struct asking){ .done = done, .drop = drop, .arg = arg };
    home_ask(w, stanza_from_bare(st), &foreign_ask_message, &(struct may_leave){ stanza_ref(st) },
             &(struct asker){
                 .gather = asking_heard, .done = asking_end, .arg = a, .drop = asking_drop });
}
