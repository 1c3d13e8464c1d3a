/*
 * test/integration/src/drive_verify.c
 *	  Reads a peer back by the sink's own verify(), and counts what it finds.
 */
#include "drive.h"

#include <stdbool.h>

void
drive_die(const char *text, const char *detail)
{
	fprintf(stderr, "sink_drive: %s%s\n", text, detail);
	exit(2);
}

char *
drive_json_string(const char *text)
{
	char *out = malloc(strlen(text) * 6 + 3), *at = out;

	*at++ = '"';
	for (; *text != '\0'; text++)
	{
		if (*text == '"' || *text == '\\')
			*at++ = '\\', *at++ = *text;
		else if ((unsigned char) *text < 0x20)
			at += sprintf(at, "\\u%04x", (unsigned) *text);
		else
			*at++ = *text;
	}
	*at++ = '"';
	*at = '\0';
	return out;
}

typedef struct Seen
{
	unsigned char *count; /* by position */
	int64_t *newest; /* by key number: the last position that was seen for the first time */
	int64_t messages, replays, out_of_order, oldest_max;
	const Messages *all;
} Seen;

static bool
seen(UsherVerifier *v, const char *topic, int partition, const char *key, size_t key_len,
	 int64_t position, bool replay)
{
	Seen *s = v->arg;
	int number = message_key_number(s->all, position);

	(void) topic, (void) partition, (void) key, (void) key_len;
	s->messages++;
	if (replay)
	{
		s->replays++;
		return true;
	}
	if (s->count[position - v->from]++ == 0)
	{
		if (position < s->newest[number])
			s->out_of_order++;
		s->newest[number] = position;
	}
	return true;
}

static void
oldest(UsherVerifier *v, const char *topic, int partition, int64_t position)
{
	Seen *s = v->arg;

	(void) topic, (void) partition;
	if (position > s->oldest_max)
		s->oldest_max = position;
}

int
drive_verify(const UsherSinkOps *ops, const UsherSinkContext *context, const Messages *messages,
			 const char *range, int64_t since_ms)
{
	Seen s = {.all = messages};
	UsherVerifier v = {.since_ms = since_ms, .timeout_ms = 10000, .seen = seen, .oldest = oldest};
	char error[400] = "", *text;
	int64_t missing = 0, duplicates = 0;
	long long from, to;
	bool ok;

	if (sscanf(range, "%lld:%lld", &from, &to) != 2 || ops->verify == NULL)
		drive_die("cannot verify ", range);
	v.from = from;
	v.to = to;
	v.arg = &s;
	v.ntopics = messages->topics;
	v.topics = calloc((size_t) v.ntopics, sizeof(char *));
	for (int i = 0; i < v.ntopics; i++)
		if (v.ntopics == 1)
			v.topics[i] = messages->topic;
		else if (asprintf((char **) &v.topics[i], "%s-%d", messages->topic, i) < 0)
			drive_die("no memory", "");
	s.count = calloc((size_t) (to - from + 1), 1);
	s.newest = calloc((size_t) messages->keys, sizeof(int64_t));
	ok = ops->verify(context, &v, error, sizeof(error));
	for (int64_t i = 0; i <= to - from; i++)
	{
		missing += s.count[i] == 0;
		duplicates += s.count[i] > 1;
	}
	text = drive_json_string(error);
	printf(
		"{\"ok\": %s, \"error\": %s, \"messages\": %lld, \"missing\": %lld, \"duplicates\": %lld, "
		"\"out_of_order\": %lld, \"replays\": %lld, \"oldest\": %lld}\n",
		ok ? "true" : "false", text, (long long) s.messages, (long long) missing,
		(long long) duplicates, (long long) s.out_of_order, (long long) s.replays,
		(long long) s.oldest_max);
	for (int i = 0; i < v.ntopics && v.ntopics > 1; i++)
		free((char *) v.topics[i]);
	free(v.topics);
	free(s.count);
	free(s.newest);
	free(text);
	return ok ? 0 : 1;
}
