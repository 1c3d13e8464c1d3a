/*
 * gateway/limit.h
 *	  Rate limits (token buckets), and which addresses may come at all.
 */
#ifndef USHERD_LIMIT_H
#define USHERD_LIMIT_H

#include <stdbool.h>
#include <stdint.h>
#include <stddef.h>

#include "lib/addresses.h"
#include "lib/text.h"

typedef struct LimitAnswer
{
	bool allowed;
	int limit; /* requests a minute; 0: nothing limits it */
	int remaining;
	int reset_seconds; /* until the bucket is full again */
	int retry_after_seconds; /* when it is not allowed, at least 1 */
} LimitAnswer;

/*
 * Take one token of each bucket that the request falls under: its class for the user (or the address,
 * for nobody; or the key), and its tenant's.  class: "general", "login", "register", "reserve" or
 * another that the configuration has; one that it does not have is "general"; "key" stands for "general" of keys.
 * All or none are taken; the answer is of the one with the least left.  now: seconds, best of a clock that
 * nobody sets.
 */
extern LimitAnswer limit_take(const char *class, const char *tenant, const char *user, bool is_key,
							  const Address *address, double now);

/*
 * Wrong credentials of an address, by the class "credentials"; without it they are not counted.  Each takes a
 * token; while there is none, no credential of that address is looked into that is not known already.
 */
extern void limit_wrong_credential(const Address *address, double now);
extern bool limit_may_try_credential(const Address *address, double now, LimitAnswer *answer);

extern double limit_clock(void); /* such a clock */

extern bool limit_load(char *error, size_t size); /* from the configuration; keeps the buckets */
/*
 * A tenant's own limit, from the database: of class "tenant" for all of its requests together, else for each of its
 * users in that class.  per_minute 0: none any more.
 */
extern void limit_tenant(const char *tenant, const char *class, int per_minute, int burst);
/* How often a bucket was shared because the table had no room (see lib/buckets.h). */
extern int64_t limit_crowded(void);
extern bool limit_address_allowed(const Address *address); /* allow and deny lists */
/* The client's address: the peer's, or what the trusted proxies say in X-Forwarded-For. */
extern Address limit_client(const Address *peer, Slice x_forwarded_for);
extern bool limit_parse_address(const char *text, Address *address);
extern void limit_format_address(const Address *address, char *text, size_t size);

/* Connections of an address; false: it has too many.  Counted by us, each with its end. */
extern bool limit_connect(const Address *address);
extern void limit_disconnect(const Address *address);

#endif /* USHERD_LIMIT_H */
