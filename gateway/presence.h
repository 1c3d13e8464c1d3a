/*
 * gateway/presence.h
 *	  Who is here: the members of topics, at all gateways of the database; and their signals.
 *
 * A gateway knows the topics that its own clients have joined.  It tells the
 * others who comes and goes, and repeats every 10 seconds who is there; whom it
 * has not named for 30 seconds is dropped by the others.  All that goes by
 * signals, so nothing of it is kept or certain.
 */
#ifndef USHERD_PRESENCE_H
#define USHERD_PRESENCE_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/text.h"

#define PRESENCE_STATE_MAX   1024 /* bytes of JSON that a member says of itself */
#define PRESENCE_MEMBERS_MAX 2000 /* of a topic */
#define PRESENCE_TOPICS_MAX  16 /* of a client */
#define PRESENCE_ID_SIZE     40

/* A client in a topic. */
typedef struct Join
{
	struct Join *next; /* the owner's */
	struct Join *room_previous, *room_next;
	struct Room *room;
	void *owner;
	char *json; /* {"id":…,"user":…,"state":…}; NULL: it only listens */
	char id[PRESENCE_ID_SIZE];
	bool
		stale; /* changes were not delivered: the owner gets the whole list when it can be written to */
} Join;

/* state: JSON, or absent.  NULL: the topic is full. */
extern Join *presence_join(void *owner, const char *tenant, Slice topic, const char *user,
						   Slice state, bool listens);
extern void presence_leave(Join *join); /* and frees it */
extern Slice presence_topic(const Join *join);
extern void presence_members(const Join *join, Text *json); /* [{"id":…},…] */

/* Frames for an owner; false: it cannot be written to now. */
extern void presence_start(bool (*deliver)(void *owner, const Text *frame));

typedef struct PresenceCounts
{
	int topics, members; /* members: our own clients', and the others' of the same topics */
} PresenceCounts;
extern PresenceCounts presence_counts(void);

#endif /* USHERD_PRESENCE_H */
