#include "muc/archive/recorder.h"
#include "base/mem.h"
#include "home/here.h"

unsigned recorder_slot;

struct recorder *recorder_here(const struct worker *w) { return *worker_state(w, recorder_slot); }

struct recorder *recorder_of(struct worker *w)
{
    struct recorder *r = *worker_state(w, recorder_slot);
    if (r == NULL) {
        r = *worker_state(w, recorder_slot) = mem_new(struct recorder);
        r->worker = w;
        list_init(&r->waiting);
        list_init(&r->written);
        list_init(&r->requests);
        list_init(&r->burials);
        list_init(&r->ended);
        r->prefix_max = RECORD_PREFIX_MAX;
    }
    return r;
}

void recorder_free(struct worker *w) { mem_free(worker_state(w, recorder_slot)); }
