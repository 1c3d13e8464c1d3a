/*
 * gateway/presence_room.h
 *	  A topic and who is in it, for the files that keep it.
 */
#ifndef USHERD_PRESENCE_ROOM_H
#define USHERD_PRESENCE_ROOM_H

#include "lib/json_check.h"
#include "presence.h"
#include "signals.h"

/* Of another gateway. */
typedef struct Member
{
	struct Member *next;
	char *json;
	char id[PRESENCE_ID_SIZE];
	double heard;
} Member;

typedef struct Change
{
	struct Change *next;
	bool joined, own;
	char *text; /* the member's JSON, or its id */
} Change;

typedef struct Room
{
	struct Room *next; /* in its bucket */
	struct Room *dirty_next;
	bool dirty;
	unsigned number; /* which tenth of the time its list is told in */
	int nmembers; /* all that are shown */
	Join *joins;
	Member *members, **members_end;
	Member
		*expected; /* who is named next, when they are named in the same order as the last time */
	Change *changes, **changes_end;
	char *tenant, *topic;
} Room;

#define PRESENCE_TOPIC "usher.presence" /* of the gateways' signals */

/* A signal that is being gathered, of one tenant. */
typedef struct Letter
{
	const char *tenant;
	Text text;
	int rooms;
} Letter;

/* presence.c */
extern Room *
presence_room(const char *tenant, Slice topic); /* that somebody here has joined, or NULL */
extern void presence_came(Room *room, JsonValue member); /* at another gateway, or is there still */
extern void presence_went(Room *room, Slice id);

/* presence_peers.c */
extern const char *peers_start(void); /* what this gateway calls itself */
extern void letter_send(Letter *letter);
/* Members ("j"), or ids of those who have gone ("l"): as many letters as it takes. */
extern void
letter_add(Letter *letter, const Room *room, const char *name, const char *const *items, int n);
extern void letter_add_room(Letter *letter, const Room *room); /* all of ours that are in it */
extern void peers_ask(const Room *room); /* who is in it? */
extern void peers_heard(const Signal *signal);

#endif /* USHERD_PRESENCE_ROOM_H */
