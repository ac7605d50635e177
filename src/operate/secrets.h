/* secrets: the command for operators who have lost secrets.key. */
#pragma once

struct feature;

extern const struct feature secrets_feature;
