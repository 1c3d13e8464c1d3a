/*
 * bench/src/redis_receiver.c
 *		Receives a Redis Stream with XREAD BLOCK (receiver.h).
 *
 *		cc -O2 -std=gnu11 -I bench/src bench/src/redis_receiver.c -lhiredis
 */
#include "receiver.h"

#include <hiredis/hiredis.h>

/* XREAD's reply: [[stream, [[id, [field, value, ...]], ...]]] */
static void
take_entries(Receiver *r, const redisReply *entries, char *last, size_t size)
{
	for (size_t i = 0; i < entries->elements; i++)
	{
		const redisReply *entry = entries->element[i];
		const redisReply *fields = entry->element[1];

		for (size_t f = 0; f + 1 < fields->elements; f += 2)
			if (strcmp(fields->element[f]->str, "data") == 0)
				receiver_take(r, fields->element[f + 1]->str, fields->element[f + 1]->len);
		snprintf(last, size, "%s", entry->element[0]->str);
	}
}

int
main(int argc, char **argv)
{
	Receiver r;
	redisContext *redis;
	char last[64] = "0-0";

	receiver_begin(&r, argc, argv);
	redis = redisConnect(r.host, r.port);
	if (redis == NULL || redis->err)
		die("connect", redis ? redis->errstr : "no memory");
	receiver_ready();
	while (r.received < r.count)
	{
		redisReply *reply = redisCommand(redis, "XREAD COUNT 1000 BLOCK %d STREAMS %s %s",
										 SILENCE_MS, r.topic, last);

		if (reply == NULL)
			die("XREAD", redis->errstr);
		if (reply->type == REDIS_REPLY_NIL)
			die("XREAD", "nothing has come for ten seconds");
		if (reply->type != REDIS_REPLY_ARRAY)
			die("XREAD", reply->type == REDIS_REPLY_ERROR ? reply->str : "an unexpected reply");
		take_entries(&r, reply->element[0]->element[1], last, sizeof(last));
		freeReplyObject(reply);
	}
	receiver_print(&r);
	redisFree(redis);
	return 0;
}
