/*
 * gateway/journal.h
 *	  The access log and the error log: one JSON object a line.
 *
 * Lines go to a buffer; a thread of its own writes them, so that a slow disk
 * never holds the loop.  When the buffer is full, lines are dropped and counted;
 * the count is written as soon as there is room.  No secret is ever given to it:
 * no header Authorization, no body, no query of a ticket.
 */
#ifndef USHERD_JOURNAL_H
#define USHERD_JOURNAL_H

#include <stdbool.h>
#include <stdint.h>
#include <stddef.h>

#include "lib/text.h"

typedef enum JournalLevel
{
	JOURNAL_DEBUG,
	JOURNAL_INFO,
	JOURNAL_WARNING,
	JOURNAL_ERROR,
} JournalLevel;

extern void journal_start(void); /* files from the configuration; "-" is standard error */
extern void journal_reopen(void); /* after rotation */
extern void journal_stop(void); /* writes what is there */

/* {"time", "level", "message", ...}; the message is made as by printf. */
extern void
journal(JournalLevel level, const char *format, ...) __attribute__((format(printf, 2, 3)));

typedef struct JournalAccess
{
	const char *request_id, *traceparent; /* traceparent may be "" */
	Slice method, path; /* without the query */
	const char *route; /* the template, e.g. /v1/streams/{stream}/events, or "" */
	int status;
	int64_t bytes;
	double seconds;
	const char *address, *tenant, *user;
} JournalAccess;
extern void journal_access(const JournalAccess *access);
extern int64_t journal_dropped(void);

#endif /* USHERD_JOURNAL_H */
