/*
 * gateway/lib/event_document.h
 *	  One event's JSON, for many questions: each object in it is walked once, when the first asks for something in it.
 *
 * Pure C.  Only of what json_check() would accept; for any other text it stays within the text.
 */
#ifndef USHERD_EVENT_DOCUMENT_H
#define USHERD_EVENT_DOCUMENT_H

#include "json_check.h"

typedef struct DocumentMember
{
	Slice name; /* without escapes */
	JsonValue value;
	uint32_t first, count; /* its own members, when walked */
	bool walked;
} DocumentMember;

/* Begin with {0}; one after the other can use it; end with document_free(). */
typedef struct EventDocument
{
	DocumentMember *members; /* [0] is the whole */
	uint32_t n, size;
	Arena names; /* of names with escapes */
} EventDocument;

extern void document_begin(EventDocument *document, Slice json);
/* "data.show": the last member of each name counts, as in PostgreSQL and in JavaScript. JSON_NONE: it is not there. */
extern JsonValue document_at(EventDocument *document, Slice path);
extern void document_free(EventDocument *document);

#endif /* USHERD_EVENT_DOCUMENT_H */
