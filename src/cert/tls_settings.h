/* tls_settings: the settings of TLS, one set for each context (io/tls_policy.h), and the command
 * `tls list`, which shows them. A change applies to new connections once it
 * is answered. */
#pragma once

struct cert_uses;
struct feature;
struct why;

extern const struct feature tls_settings_feature;

/* Makes the contexts as the settings say: after these were loaded, and before certificates are.
 * Main's thread. `refused` says why some do not apply; empty: they do. */
void tls_settings_apply(struct why *refused);
/* Raises an alarm if a certificate has a key for which clients of TLS 1.2 find no cipher. */
void tls_settings_look(const struct cert_uses *uses);
