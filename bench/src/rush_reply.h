/*
 * bench/src/rush_reply.h
 *		What bench/src/rush.c reads of a reply: its status, the booking that was granted, or the kind of the problem.
 *
 * Replies have a Content-Length; nothing else is understood, and nothing else is asked for. Kinds are the last segment of
 * a problem's `type` and are counted by status.
 */
#ifndef RUSH_REPLY_H
#define RUSH_REPLY_H

#include "bench.h"
#include <strings.h>

#define KINDS_MAX      64
#define KIND_LENGTH    48
#define BOOKING_LENGTH 36

typedef struct Reply
{
	int status;
	int replayed; /* an earlier outcome of the same key */
	int closes;
	size_t length; /* of all of it */
	const char *body;
	size_t body_length;
} Reply;

typedef struct Kind
{
	int status;
	char name[KIND_LENGTH];
	uint64_t count;
} Kind;

typedef struct Kinds
{
	Kind kind[KINDS_MAX];
	int count;
} Kinds;

static int
header_is(const char *line, const char *name, const char **value)
{
	size_t length = strlen(name);

	if (strncasecmp(line, name, length) != 0 || line[length] != ':')
		return 0;
	*value = line + length + 1 + strspn(line + length + 1, " ");
	return 1;
}

static void
reply_header(Reply *reply, const char *line)
{
	const char *value;

	switch (line[0] | 0x20)
	{
		case 'c':
			if (header_is(line, "content-length", &value))
				reply->body_length = strtoul(value, NULL, 10);
			else if (header_is(line, "connection", &value))
				reply->closes = strncasecmp(value, "close", 5) == 0;
			break;
		case 'i':
			if (header_is(line, "idempotency-replayed", &value))
				reply->replayed = strncmp(value, "true", 4) == 0;
			break;
		default:
			break;
	}
}

/* Is a whole reply in the buffer, which ends with a NUL? */
static int
reply_read(Reply *reply, const char *buffer, size_t length)
{
	const char *end = memmem(buffer, length, "\r\n\r\n", 4), *line = buffer;

	if (end == NULL)
		return 0;
	*reply = (Reply){.status = length > 12 ? atoi(buffer + 9) : 0};
	if (strncmp(buffer, "HTTP/1.1 ", 9) != 0 || reply->status < 200)
		die("this is no reply: %.80s", buffer);
	while ((line = memchr(line, '\n', (size_t) (end - line))) != NULL)
		reply_header(reply, ++line);
	reply->body = end + 4;
	reply->length = (size_t) (reply->body - buffer) + reply->body_length;
	return reply->length <= length;
}

/* The text of the first member of that name in the reply's JSON; its length. */
static size_t
reply_text(const Reply *reply, const char *name, const char **text)
{
	const char *end = reply->body + reply->body_length, *at = reply->body, *close;
	size_t length = strlen(name);

	while ((at = memmem(at, (size_t) (end - at), name, length)) != NULL)
	{
		const char *value = at + length;

		at = value;
		if (value[-(ptrdiff_t) length - 1] != '"' || *value != '"')
			continue;
		value += 1 + strspn(value + 1, " :");
		if (*value++ != '"' || (close = memchr(value, '"', (size_t) (end - value))) == NULL)
			continue;
		*text = value;
		return (size_t) (close - value);
	}
	return 0;
}

/* The index of the kind that the reply is of; it has been counted. */
static int
kinds_count(Kinds *kinds, const Reply *reply)
{
	const char *type = "";
	size_t length = reply->status < 300 ? 0 : reply_text(reply, "type", &type);
	const char *slash = length == 0 ? NULL : memrchr(type, '/', length);
	int i = 0;

	if (slash != NULL)
	{
		length -= (size_t) (slash + 1 - type);
		type = slash + 1;
	}
	if (length >= KIND_LENGTH)
		length = KIND_LENGTH - 1;
	while (i < kinds->count &&
		   (kinds->kind[i].status != reply->status || strlen(kinds->kind[i].name) != length ||
			memcmp(kinds->kind[i].name, type, length) != 0))
		i++;
	if (i == KINDS_MAX)
		die("more than %d kinds of replies", KINDS_MAX);
	if (i == kinds->count)
	{
		kinds->kind[i].status = reply->status;
		memcpy(kinds->kind[i].name, type, length);
		kinds->count++;
	}
	kinds->kind[i].count++;
	return i;
}

#endif /* RUSH_REPLY_H */
