/*
 * gateway/batch_suspects.c
 *	  What elements that have raised errors lately have in common, and what was
 *	  locked by somebody for long: what has such a trait travels alone, so that it
 *	  does not take others' work with it, and others need not wait for it.
 *
 * A small table without collisions' lists: the newest error has the place.  A
 * trait of a tenant is suspect while at least half of what was heard of it since
 * its first error was errors, and for some seconds.
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

#define ABSENT 1

/* Of its i-th trait; ABSENT: it is none; 0: it has no more. */
static uint64_t
trait_hash(const Element *element, int i, bool *locks)
{
	char what[2] = {(char) element->kind->lane, 0};
	uint64_t hash = 0xcbf29ce484222325u;
	Slice name;

	if (!element->kind->trait(element, i, locks, &name))
		return 0;
	if (name.data == NULL)
		return ABSENT;
	what[1] = *locks;
	hash = hash_bytes(hash, what, sizeof(what));
	hash = hash_bytes(hash, element->tenant, strlen(element->tenant));
	hash = hash_bytes(hash, name.data, name.len);
	return hash > ABSENT ? hash : ABSENT + 1;
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
suspect_is(const Element *element)
{
	uint64_t hash;
	bool locks;

	for (int i = 0; nsuspects > 0 && (hash = trait_hash(element, i, &locks)) != 0; i++)
		if (is_suspect(hash))
			return true;
	return false;
}

static void
raised(const Element *element, bool waited)
{
	uint64_t hash;
	bool locks;

	for (int i = 0; (hash = trait_hash(element, i, &locks)) != 0; i++)
		if (hash != ABSENT && locks == waited)
		{
			Suspect *suspect = suspect_place(hash);

			nsuspects += suspect->hash == 0;
			if (!still_counts(suspect, hash))
				*suspect = (Suspect){.hash = hash};
			suspect->raised_at = db_now();
			suspect->raised++;
		}
}

void
suspect_raised(const Element *element)
{
	raised(element, false);
}

void
suspect_locked(const Element *element)
{
	raised(element, true);
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
suspect_fine(const Element *element)
{
	uint64_t hash;
	bool locks;

	for (int i = 0; nsuspects > 0 && (hash = trait_hash(element, i, &locks)) != 0; i++)
		fine(hash);
}
