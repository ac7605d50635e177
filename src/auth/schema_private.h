/* schema_private: the statements of auth/, which are one schema. */
#pragma once
#include "store/store.h"

/* credentials.c */
extern struct store_stmt credential_stmt_get, credential_stmt_create, credential_stmt_put,
    credential_stmt_bump, credential_stmt_factor, credential_stmt_delete_keys,
    credential_stmt_delete, credential_stmt_empty, credential_stmt_aside, credential_stmt_inherit,
    credential_stmt_replaced, credential_stmt_add_hash, credential_stmt_lacks_no_more,
    credential_stmt_list, credential_stmt_reserve, credential_stmt_unreserve, credential_stmt_port,
    credential_stmt_keys;
/* devices.c */
extern struct store_stmt device_stmt_tokens, device_stmt_put, device_stmt_trim,
    device_stmt_trim_tokens, device_stmt_count, device_stmt_alive, device_stmt_drop_slot,
    device_stmt_promote, device_stmt_drop_used, device_stmt_issue, device_stmt_list,
    device_stmt_revoke_tokens, device_stmt_revoke, device_stmt_forget, device_stmt_delete_tokens,
    device_stmt_delete;
