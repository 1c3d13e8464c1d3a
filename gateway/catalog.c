/*
 * gateway/catalog.c
 *	  The position of each tenant's last change of what is on sale.
 *
 * A position that is too new only makes a client read once more; so whoever is
 * not in the table has the position from which on everything is known.  The tag
 * is made before the database is read: what is read may be newer than its tag,
 * never older.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "catalog.h"
#include "lib/siphash.h"
#include "tail.h"

#define TENANTS_MAX 4096

typedef struct Change
{
	uint64_t tenant; /* a hash; 0: a free place */
	int64_t position;
} Change;

static Change changes[TENANTS_MAX];
static int nchanges;
static int64_t known_from = -1; /* -1: nothing is known */
static TailListener tail;

static uint64_t
hash_of(const char *data, size_t len)
{
	SipKey key = {0x7573686572, 0x626f78};
	uint64_t hash = siphash(key, data, len);

	return hash != 0 ? hash : 1;
}

static void
forget(int64_t position)
{
	memset(changes, 0, sizeof(changes));
	nchanges = 0;
	known_from = position;
}

static Change *
place_of(const char *tenant)
{
	uint64_t hash = hash_of(tenant, strlen(tenant));
	size_t at = hash % TENANTS_MAX;

	while (changes[at].tenant != 0 && changes[at].tenant != hash)
		at = (at + 1) % TENANTS_MAX;
	if (changes[at].tenant == 0)
		changes[at] = (Change){hash, -1};
	return &changes[at];
}

static bool
is_change(const char *type)
{
	static const char *const fronts[] = {"event.", "show.", "zone."};

	for (size_t i = 0; i < sizeof(fronts) / sizeof(fronts[0]); i++)
		if (strncmp(type, fronts[i], strlen(fronts[i])) == 0)
			return true;
	return false;
}

static void
tail_events(TailListener *listener, const TailEvent *events, int n)
{
	(void) listener;
	for (int i = 0; i < n; i++)
	{
		Change *change;

		if (!is_change(events[i].type))
			continue;
		if (nchanges > TENANTS_MAX / 2)
			forget(events[i].position);
		change = place_of(events[i].tenant);
		nchanges += change->position < 0;
		change->position = events[i].position;
	}
}

static void
tail_moved(TailListener *listener, int64_t position, bool jumped)
{
	(void) listener;
	if (jumped)
		forget(position);
}

void
catalog_start(void)
{
	tail = (TailListener){.events = tail_events, .moved = tail_moved, .wants = TAIL_CHANGES};
	tail_listen(&tail);
}

static int64_t
position_of(const char *tenant)
{
	uint64_t hash = hash_of(tenant, strlen(tenant));

	for (size_t at = hash % TENANTS_MAX; changes[at].tenant != 0; at = (at + 1) % TENANTS_MAX)
		if (changes[at].tenant == hash)
			return changes[at].position > known_from ? changes[at].position : known_from;
	return known_from;
}

bool
catalog_known(Request *request, char variant)
{
	const char *tenant = request->identity->tenant;
	Slice known = request_header(request, "if-none-match");

	if (known_from < 0 || request_header(request, "usher-after").data != NULL)
		return false;
	snprintf(request->etag, sizeof(request->etag), "W/\"%" PRId64 "%c%016" PRIx64 "\"",
			 position_of(tenant), variant,
			 hash_of(request->target.data, request->target.len) ^ hash_of(tenant, strlen(tenant)));
	if (known.data == NULL ||
		memmem(known.data, known.len, request->etag + 2, strlen(request->etag) - 2) == NULL)
		return false;
	reply(request, 200, "application/json", "", 0); /* which becomes 304 */
	return true;
}
