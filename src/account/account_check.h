/* account_check: what must be true of an account between two callbacks. Debug builds ensure it
 * after each tick in which something happened to the account, in every test. See struct actor_kind.
 */
#pragma once

struct actor;

void account_check(const struct actor *a);
