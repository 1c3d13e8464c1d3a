/*
 * gateway/batch_suspects.c
 *	  Which types of events have raised errors lately, for whom: what has one of
 *	  them travels alone, so that it does not take others' work with it.
 *
 * A small table without collisions' lists: the newest error has the place.  A
 * type is suspect while at least half of what was heard of it since its first
 * error was errors, and for some seconds.
 */
#include <string.h>

#include "batch_room.h"

#define SUSPECTS_MAX    256
#define SUSPECT_SECONDS 10.0
#define HEARD_MAX       64 /* then what was heard counts half */

typedef struct Suspect
{
	uint64_t hash; /* of tenant and type; 0: nobody */
	double raised_at;
	int raised, fine;
} Suspect;

static Suspect suspects[SUSPECTS_MAX];
static int nsuspects; /* places that were ever taken */

static uint64_t
suspect_hash(const AppendRequest *request, const AppendEvent *event)
{
	uint64_t hash = 0xcbf29ce484222325u;

	hash = hash_bytes(hash, request->tenant, strlen(request->tenant));
	hash = hash_bytes(hash, event->type.data, event->type.len);
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

bool
suspect_is(const AppendRequest *request)
{
	for (int i = 0; nsuspects > 0 && i < request->nevents; i++)
	{
		uint64_t hash = suspect_hash(request, &request->events[i]);
		const Suspect *suspect = suspect_place(hash);

		if (still_counts(suspect, hash) && suspect->raised >= suspect->fine)
			return true;
	}
	return false;
}

void
suspect_raised(const AppendRequest *request)
{
	for (int i = 0; i < request->nevents; i++)
	{
		uint64_t hash = suspect_hash(request, &request->events[i]);
		Suspect *suspect = suspect_place(hash);

		nsuspects += suspect->hash == 0;
		if (!still_counts(suspect, hash))
			*suspect = (Suspect){.hash = hash};
		suspect->raised_at = db_now();
		suspect->raised++;
	}
}

void
suspect_fine(const AppendRequest *request)
{
	for (int i = 0; nsuspects > 0 && i < request->nevents; i++)
	{
		uint64_t hash = suspect_hash(request, &request->events[i]);
		Suspect *suspect = suspect_place(hash);

		if (!still_counts(suspect, hash))
			continue;
		if (++suspect->fine + suspect->raised >= HEARD_MAX)
		{
			suspect->fine /= 2;
			suspect->raised /= 2;
		}
	}
}
