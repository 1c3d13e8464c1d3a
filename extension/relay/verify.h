/*
 * extension/relay/verify.h
 *	  What a backend that verifies a sink and its worker say to each other.
 *
 * The backend makes a segment with the request and a message queue, starts
 * the worker, and reads findings until one of kind 'E' (the end) or 'X' (an
 * error: SQLSTATE and text).
 */
#ifndef USHER_RELAY_VERIFY_H
#define USHER_RELAY_VERIFY_H

#include "usher.h"

#define USHER_VERIFY_QUEUE    65536
#define USHER_VERIFY_MAX      INT64CONST(20000000) /* positions in one run */
#define USHER_VERIFY_TEXT_MAX 2048

typedef struct UsherVerifyRequest
{
	Oid dboid;
	int32 sink_id;
	int64 from, to; /* positions, inclusive */
} UsherVerifyRequest;

/* One finding; the three texts follow, each with its zero byte. */
typedef struct UsherFinding
{
	char kind; /* 'F' a finding, 'E' the end with a summary, 'X' an error */
	int sqlstate; /* of an error */
	int64 position; /* 0: none */
	char texts[FLEXIBLE_ARRAY_MEMBER]; /* problem, topic, detail */
} UsherFinding;

#endif /* USHER_RELAY_VERIFY_H */
