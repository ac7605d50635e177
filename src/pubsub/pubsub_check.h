/* pubsub_check: what must be true of a pubsub service between two callbacks: debug builds ensure it
 * after each tick in which something happened to the service, in every test. See struct actor_kind.
 */
#pragma once

struct actor;

void ps_service_check(const struct actor *a);
