/* push: what ext/push/push.c shares with its test from outside. */
#pragma once
#include "base/slice.h"

struct command;
struct setting;

bool push_service_allowed(slice service); /* by push.services */

extern struct setting push_enabled;
extern struct command pushtest_command;
