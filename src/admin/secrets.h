/* secrets: what an operator does when the key of the secrets is lost. */
#pragma once

struct feature;

extern const struct feature secrets_feature;
