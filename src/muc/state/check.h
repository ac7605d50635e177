/* check: what must be true of a room between two callbacks: debug builds ensure it after each
 * tick in which something happened to the room, in every test. See struct actor_kind. */
#pragma once

struct actor;

void room_check(const struct actor *a);
