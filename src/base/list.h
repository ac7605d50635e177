/* list: intrusive doubly linked list with a head of the same type. An unlinked node has a NULL
 * next. One owner thread; nodes belong to whoever holds them. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

struct list {
    struct list *next, *prev;
};

#define CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

static inline void list_init(struct list *head) { head->next = head->prev = head; }
static inline bool list_empty(const struct list *head) { return head->next == head; }
static inline bool list_linked(const struct list *node) { return node->next != NULL; }
static inline void list_insert_before(struct list *at, struct list *node)
{
    node->prev = at->prev;
    node->next = at;
    at->prev->next = node;
    at->prev = node;
}
static inline void list_append(struct list *head, struct list *node)
{
    list_insert_before(head, node);
}
static inline void list_prepend(struct list *head, struct list *node)
{
    list_insert_before(head->next, node);
}
static inline void list_remove(struct list *node) /* an unlinked node is fine */
{
    if (node->next == NULL)
        return;
    node->prev->next = node->next;
    node->next->prev = node->prev;
    node->next = node->prev = NULL;
}
static inline struct list *list_pop(struct list *head) /* the first, unlinked; NULL: empty */
{
    struct list *node = head->next;
    if (node == head)
        return NULL;
    list_remove(node);
    return node;
}
/* the body may remove `it` itself, nothing else */
#define LIST_EACH(it, head)                                                                        \
    for (struct list *it = (head)->next, *it##_next = it->next; it != (head);                      \
         it = it##_next, it##_next = it->next)
