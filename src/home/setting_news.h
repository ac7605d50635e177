/* setting_news: tells the workers of all nodes in the process that settings have changed: on each,
 * `changed` of their rows is called, soon. A worker that is told late calls it once for several
 * changes. */
#pragma once
#include "home/question.h"

struct message_row;
struct node;
struct worker;

void setting_news_start(struct node *n);     /* before its workers run */
void setting_news_end(const struct node *n); /* after they have ended */
void setting_news_begin(struct worker *w);   /* as its thread starts: what was before is no news */
/* Calls by->done when each worker of this node has been told of all changes so far. */
void setting_news_wait(struct worker *w, const struct asker *by);
extern const struct message_row setting_news_message;
