/*
 * bgworkers/sinks/redis_link.h
 *	  A connection to Redis: from the URL to replies.
 *
 * hiredis makes commands and reads replies; the connection is ours, so that
 * nothing waits and TLS is possible.
 */
#ifndef USHER_REDIS_LINK_H
#define USHER_REDIS_LINK_H

#include "sinks/buffer.h"
#include "sinks/sink.h"
#include "sinks/transport.h"

#include <hiredis/hiredis.h>

#define REDIS_REPLY_MAX (64 * 1024 * 1024) /* a reply that is larger is nonsense */

/* What a reply that is an error asks for. */
typedef enum RedisTrouble
{
	TROUBLE_AWAY, /* come back later: loading, out of memory, not the master, ... */
	TROUBLE_SETUP, /* only a human can mend it: a command that we may not use, a cluster */
	TROUBLE_REFUSED, /* the id is not above the stream's top */
	TROUBLE_MESSAGE /* this key or this message cannot be written */
} RedisTrouble;

typedef struct RedisLink
{
	UsherTransport transport;
	redisReader *reader;
	redisReplyObjectFunctions functions;
	UsherBuffer out; /* to be written */
	size_t unread; /* bytes of replies that the reader holds */
	int64_t heard_ms; /* when we last read or began to wait */
	/* from the URL and the options */
	char *host, *port, *user, *password;
	int64_t database;
	bool tls;
	char error[400];
} RedisLink;

/* Begin to connect; false: it failed at once.  redis_link_close() in any case. */
extern bool redis_link_open(RedisLink *link, const UsherSinkContext *context);

/* Go on connecting: 1, 0 or -1 as usher_transport_connect(). */
extern int redis_link_connect(RedisLink *link);

/* Queue AUTH, SELECT and CLIENT SETNAME; how many replies that makes. */
extern int redis_link_greet(RedisLink *link, const char *name);

/* Is the reply to one of these an acceptance?  -1: no, the error says why. */
extern int redis_link_greeted(RedisLink *link, const redisReply *reply);

/* Queue a command of n words. */
extern bool redis_link_command(RedisLink *link, int n, const char **words, const size_t *lens);

/* Queue a command of words that end in zero bytes, up to NULL. */
extern bool redis_link_send(RedisLink *link, ...) __attribute__((sentinel));

/* Write what can be written; read what is there.  Bytes, 0: nothing, -1: failed. */
extern ssize_t redis_link_flush(RedisLink *link);
extern ssize_t redis_link_fill(RedisLink *link);

/* The next reply, to be freed; 1, 0: not there yet, -1: nonsense. */
extern int redis_link_reply(RedisLink *link, redisReply **reply);

/* Skip replies +QUEUED, at most so many; returns how many there were. */
extern int redis_link_skip_queued(RedisLink *link, int max);

extern void redis_link_close(RedisLink *link);

extern RedisTrouble redis_trouble(const char *error);

/* Its first word, as a code. */
extern void redis_error_code(const char *error, char *code, size_t size);

#endif /* USHER_REDIS_LINK_H */
