/* forms: what the texts of settings about HTTP look like; for `check` of struct setting. Pure. */
#pragma once
#include "base/slice.h"
#include <stdbool.h>

#define HTTP_FORM_URL       "http:// or https:// with a host, without query and fragment"
#define HTTP_FORM_PATH      "a path as \"/chat\", of letters, digits and -._~/"
#define HTTP_FORM_ORIGINS   "*, or origins as \"https://chat.example.org\", separated by commas"
#define HTTP_FORM_ADDRESSES "IPv4 and IPv6 addresses in numbers, separated by commas"

/* Each accepts the empty text, too. */
bool http_is_url(slice text);
bool http_is_path(slice text);
bool http_are_origins(slice text);
bool http_are_addresses(slice text);
