/* muc_history: how much of a room's history somebody asks for who enters it (XEP-0045 §7.2.13,
 * §7.2.14). Pure. */
#pragma once
#include "base/slice.h"

struct elem;

struct history_ask {
    bool many;         /* it says how many, or from when on; else the room decides how many */
    uint32_t stanzas;  /* UINT32_MAX: any number */
    uint64_t chars;    /* of all stanzas with their XML; UINT64_MAX: any number */
    uint64_t since_us; /* wall clock; 0: all */
    slice to;          /* whom they go to, which counts, too; empty: nobody */
};

/* Reads <x xmlns='http://jabber.org/protocol/muc'/>. The smallest of the given limits applies.
 * Values that are no number or time are ignored. */
void history_ask_read(struct history_ask *out, const struct elem *x, uint64_t now_us);
