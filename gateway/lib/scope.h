/*
 * gateway/lib/scope.h
 *	  What a scope allows: `action`, `action:object` or `*`.
 *
 * Pure C; docs/gateway-identity.md has the grammar with examples.
 */
#ifndef USHERD_SCOPE_H
#define USHERD_SCOPE_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Does one scope allow the action on the object?  object NULL: on everything, or the action has no object.
 * An object may be a pattern itself: then the scope must allow all that it can match.
 */
extern bool scope_allows(const char *scope, const char *action, const char *object, size_t len);

/* Does it allow the action on anything at all? */
extern bool scope_mentions(const char *scope, const char *action);

/* Is every name that `pattern` matches also matched by `glob`?  May say no where a cleverer proof says yes. */
extern bool scope_covers(const char *glob, size_t glob_len, const char *pattern, size_t len);

#endif /* USHERD_SCOPE_H */
