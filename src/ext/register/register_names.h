/* register_names: names that are not for who registers first: those of offices (RFC 2142 and
 * register.reserved-names), of the domain itself, those in the form of a guest's, and all that look
 * like one of them (UTS 39). Operators may give them to whom they want. */
#pragma once
#include "base/setting.h"
#include "base/slice.h"

struct arena;

extern struct setting register_reserved_names;

/* local: prepared. */
bool register_name_reserved(slice local, slice domain, struct arena *tmp);
