/* prosody_value: what Prosody's storage in SQL keeps as a pair of type and text, as the same
 * value that its files have (convert/lua.h). Pure.
 *
 * Limits: LUA_DEPTH_MAX tables inside each other, LUA_FIELDS_MAX fields; PROSODY_VALUE_MAX bytes of
 * an element. */
#pragma once
#include "convert/lua.h"

struct xml_work;

enum { PROSODY_VALUE_MAX = 128 << 20 };

/* In the arena; strings may borrow the text. E_SYNTAX, E_LIMIT: `why` says what is wrong. */
NODISCARD enum err prosody_value(struct lua_value *out, slice type, slice text,
                                 struct xml_work *xml, struct arena *tmp, struct why *why);

/* Puts a field with a name before the others of a table. */
void prosody_value_put(struct lua_value *table, const char *name, struct lua_value value,
                       struct arena *tmp);
