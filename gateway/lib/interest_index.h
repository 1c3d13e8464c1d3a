/*
 * gateway/lib/interest_index.h
 *	  Which of many filters want an event, without asking each.
 *
 * Pure C.  A filter is found by the patterns of its types (a trie), behind each by those of its streams (another), and
 * behind these by one of its members' values (a hash).  So what an event costs depends on what nearly matches it,
 * not on how many filters there are.  What is found so is asked for the rest of its filter.
 */
#ifndef USHERD_INTEREST_INDEX_H
#define USHERD_INTEREST_INDEX_H

#include "event_document.h"
#include "event_filter.h"
#include "siphash.h"

typedef struct WantedValue
{
	JsonKind kind;
	Slice text; /* of a string, without escapes */
	double number;
} WantedValue;

typedef struct WantedMember
{
	Slice path;
	WantedValue *values; /* any of them */
	int nvalues;
} WantedMember;

typedef struct InterestIndex InterestIndex;

/* The memory is the index's user's, between interest_begin() and interest_end(). */
typedef struct Interest
{
	EventFilter filter; /* a copy */
	WantedMember *members;
	int nmembers;
	void *
		copied; /* what the filter points to; there may be as many as clients, so both are of the size that they need */
	int by_member; /* it is found by the values of this one; -1: by its patterns alone */
	bool by_stream;
	uint64_t found; /* the last event that it was asked for */
} Interest;

extern void interest_begin(Interest *interest, const EventFilter *filter);
extern void interest_end(Interest *interest);
/* As filter_wants(); the document is that of the event's JSON. */
extern bool
interest_wants(const Interest *interest, const FilterEvent *event, EventDocument *document);

/* What a value is, whatever its text; a string's is in the room when it had escapes. */
extern WantedValue interest_value(JsonValue value, Text *room);

extern InterestIndex *index_make(SipKey key);
extern void index_free(InterestIndex *index); /* it must be empty */
extern void index_add(InterestIndex *index, Interest *interest);
extern void index_remove(InterestIndex *index, Interest *interest);

/* found() is called once for each that wants the event, and leaves the index as it is. */
typedef void (*InterestFound)(void *context, Interest *interest);
extern void
index_match(InterestIndex *index, const FilterEvent *event, InterestFound found, void *context);
extern int64_t index_asked(const InterestIndex *index); /* how many were asked so far */

#endif /* USHERD_INTEREST_INDEX_H */
