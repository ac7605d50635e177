/* second_factor: codes of an app beside the password (auth/totp.h), for administrators and for
 * accounts with a role, when they log in to the console. `admin totp` makes a secret, `admin
 * totp-confirm` turns it on with a first code and gives ten recovery codes. A code and a recovery
 * code are good once: what makes them used is a statement that changes a row, so two logins at the
 * same moment cannot both pass. Secrets are sealed (auth/seal.h), recovery codes are stored as
 * hashes. */
#pragma once
#include "store/store.h"

struct arena;
struct feature;
struct worker;

struct factor {
    slice name, secret; /* in the arena */
    bool confirmed;
};

void factor_add_read(struct store_batch *b, slice name);
/* Of its first statement. No row: it is not confirmed. false: the secret cannot be decrypted. */
bool factor_of(const struct store_batch *b, slice name, struct arena *arena, struct factor *out);
/* A batch whose first statement changes one row if the code is good and was not used yet. NULL: it
 * is not. */
struct store_batch *factor_use(struct worker *w, const struct factor *f, slice code);

bool factor_is_there(slice name);    /* confirmed */
bool factor_is_demanded(slice role); /* setting admin.totp-roles */
bool factor_may_enrol(void);         /* setting admin.totp-enrol */
void factor_add_drop(struct store_batch *b, slice name);

extern const struct feature second_factor_feature;
