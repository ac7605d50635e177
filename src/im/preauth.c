#include "im/preauth.h"

const struct preauth *preauth_hook;
