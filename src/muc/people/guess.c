#include "muc/people/guess.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "muc/room/room.h"
#include "muc/room/settings.h"

enum { GUESSERS_MAX = 256, WHOLE = 1000 };

/* Wrong passwords in thousandths, as of a moment. */
struct count {
    uint64_t at_us;
    uint64_t sum;
};
struct room_guesses {
    struct count room;
    uint32_t len, cap, next;
    struct guesser {
        uint64_t who;
        struct count count;
    } row[];
};

static uint64_t allowed(const struct setting *s) { return (uint64_t)setting_int(s) * WHOLE; }

/* The number that is left: the allowed number goes in muc.password-time. */
static uint64_t now_of(const struct room *r, const struct count *c, const struct setting *most)
{
    uint64_t time_us = (uint64_t)setting_int(&muc_password_time) * 1000;
    uint64_t passed_us = loop_now_us(room_loop(r)) - c->at_us;
    if (setting_int(most) == SETTING_NONE || passed_us >= time_us)
        return 0;
    uint64_t gone = (uint64_t)((double)passed_us / (double)time_us * (double)allowed(most));
    return c->sum > gone ? c->sum - gone : 0;
}

static bool guess_is_over(const struct room *r, const struct count *c, const struct setting *most)
{
    return setting_int(most) != SETTING_NONE && now_of(r, c, most) + WHOLE > allowed(most);
}

static struct guesser *guesser_of(const struct room *r, slice bare)
{
    uint64_t who = hash_keyed(bare);
    for (uint32_t i = 0; r->guesses != NULL && i < r->guesses->len; i++)
        if (r->guesses->row[i].who == who)
            return &r->guesses->row[i];
    return NULL;
}

static struct guesser *guesser_new(struct room *r)
{
    struct room_guesses *g = r->guesses;
    uint32_t cap = g == NULL ? 4 : g->cap * 2;
    if (g == NULL || (g->len == g->cap && cap <= GUESSERS_MAX)) {
        g = mem_realloc(g, sizeof *g + cap * sizeof *g->row);
        if (r->guesses == NULL)
            *g = (struct room_guesses){ 0 };
        g->cap = cap;
        r->guesses = g;
    }
    return g->len < g->cap ? &g->row[g->len++] : &g->row[g->next++ % g->len];
}

/* Whether it is over the limit now, and was not before. */
static bool guess_add(const struct room *r, struct count *c, const struct setting *most)
{
    bool was = guess_is_over(r, c, most);
    c->sum = now_of(r, c, most) + WHOLE;
    c->at_us = loop_now_us(room_loop(r));
    return !was && guess_is_over(r, c, most);
}

void room_guessed(struct room *r, slice bare)
{
    struct guesser *one = guesser_of(r, bare);
    if (one == NULL) {
        one = guesser_new(r);
        *one = (struct guesser){ .who = hash_keyed(bare) };
    }
    if (guess_add(r, &one->count, &muc_password_failures))
        log_warn(&log_muc, LOG_EV("room.password_tried"), LOG_S("room", r->jid), LOG_S("jid", bare),
                 LOG_I("failures", setting_int(&muc_password_failures)),
                 LOG_C("hint",
                       "too many wrong passwords; further ones are refused for muc.password-time"));
    if (guess_add(r, &r->guesses->room, &muc_password_failures_per_room))
        log_warn(&log_muc, LOG_EV("room.password_tried"), LOG_S("room", r->jid),
                 LOG_C("jid", "many"),
                 LOG_I("failures", setting_int(&muc_password_failures_per_room)),
                 LOG_C("hint",
                       "too many wrong passwords; further ones are refused for muc.password-time"));
}

bool room_guesses_too_fast(const struct room *r, slice bare)
{
    const struct guesser *one = guesser_of(r, bare);
    if (r->guesses == NULL)
        return false;
    return (one != NULL && guess_is_over(r, &one->count, &muc_password_failures)) ||
           guess_is_over(r, &r->guesses->room, &muc_password_failures_per_room);
}

bool room_was_guessed(const struct room *r)
{
    return r->guesses != NULL && loop_now_us(room_loop(r)) - r->guesses->room.at_us <
                                     (uint64_t)setting_int(&muc_password_time) * 1000;
}
