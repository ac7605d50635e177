/* budget: the memory of the whole process that stanzas and output may take (design §4). Above it,
 * stanzas of clients are refused with resource-constraint and each connection is read at most every
 * 100 ms: reading goes on slowly, since acknowledgements are what gives memory back. Alarm
 * node.memory tells. */
#pragma once
#include <stdbool.h>

struct worker;

/* Looked at once in a while: a call costs a count. On a worker's thread. */
bool budget_exceeded(struct worker *w);

extern struct setting node_memory;
extern struct alarm node_memory_alarm;
