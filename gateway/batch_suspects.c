/*
 * gateway/batch_suspects.c
 *	  Which types of events have raised errors lately, and which streams were
 *	  locked by somebody for long: what has one of them travels alone, so that it
 *	  does not take others' work with it, and others need not wait for it.
 *
 * A small table without collisions' lists: the newest error has the place.  A
 * type or stream of a tenant is suspect while at least half of what was heard of
 * it since its first error was errors, and for some seconds.
 */
#include <string.h>

#include "batch_room.h"

#define SUSPECTS_MAX    256
#define SUSPECT_SECONDS 10.0
#define HEARD_MAX       64 /* then what was heard counts half */

typedef struct Suspect
{
	uint64_t hash; /* of tenant and name; 0: nobody */
	double raised_at;
	int raised, fine;
} Suspect;

static Suspect suspects[SUSPECTS_MAX];
static int nsuspects; /* places that were ever taken */

/* what: 't' for types, 's' for streams. */
static uint64_t
suspect_hash(const AppendRequest *request, char what, Slice name)
{
	uint64_t hash = 0xcbf29ce484222325u;

	hash = hash_bytes(hash, &what, 1);
	hash = hash_bytes(hash, request->tenant, strlen(request->tenant));
	hash = hash_bytes(hash, name.data, name.len);
	return hash != 0 ? hash : 1;
}

static Suspect *
suspect_place(uint64_t hash)
{
	return &suspects[hash % SUSPECTS_MAX];
}

static bool
still_counts(const Suspect *suspect, uint64_t hash)
{
	return suspect->hash == hash && db_now() - suspect->raised_at < SUSPECT_SECONDS;
}

static bool
is_suspect(uint64_t hash)
{
	const Suspect *suspect = suspect_place(hash);

	return still_counts(suspect, hash) && suspect->raised >= suspect->fine;
}

bool
suspect_is(const AppendRequest *request)
{
	for (int i = 0; nsuspects > 0 && i < request->nevents; i++)
		if (is_suspect(suspect_hash(request, 't', request->events[i].type)) ||
			is_suspect(suspect_hash(request, 's', request->events[i].stream)))
			return true;
	return false;
}

static void
raised(uint64_t hash)
{
	Suspect *suspect = suspect_place(hash);

	nsuspects += suspect->hash == 0;
	if (!still_counts(suspect, hash))
		*suspect = (Suspect){.hash = hash};
	suspect->raised_at = db_now();
	suspect->raised++;
}

void
suspect_raised(const AppendRequest *request)
{
	for (int i = 0; i < request->nevents; i++)
		raised(suspect_hash(request, 't', request->events[i].type));
}

void
suspect_locked(const AppendRequest *request)
{
	for (int i = 0; i < request->nevents; i++)
		if (request->events[i].stream.data != NULL)
			raised(suspect_hash(request, 's', request->events[i].stream));
}

static void
fine(uint64_t hash)
{
	Suspect *suspect = suspect_place(hash);

	if (!still_counts(suspect, hash))
		return;
	if (++suspect->fine + suspect->raised >= HEARD_MAX)
	{
		suspect->fine /= 2;
		suspect->raised /= 2;
	}
}

void
suspect_fine(const AppendRequest *request)
{
	for (int i = 0; nsuspects > 0 && i < request->nevents; i++)
	{
		fine(suspect_hash(request, 't', request->events[i].type));
		fine(suspect_hash(request, 's', request->events[i].stream));
	}
}
