/*
 * bgworkers/sinks/nats_verify.c
 *	  Reads the stream back: headers only, with a consumer that leaves nothing behind.
 *
 * Which message is ours, its position and whether it is a replay stand in its
 * Nats-Msg-Id, in structured mode too.  What the stream has lost at its
 * beginning is trimmed, not missing; with a limit for each subject, where each
 * subject begins counts.
 */
#include "sinks/nats.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

/* Clocks differ, and an event's time is older than its message's. */
#define MARGIN_MS 60000
#define KEY_MAX   (64 * 1024)

typedef struct Reader
{
	UsherVerifier *v;
	NatsConfig config;
	natsConnection *connection;
	jsCtx *js;
	jsStreamInfo *info;
	int64_t first; /* position, of the first message that is ours; 0: there is none */
	char *key;
	const char **topics; /* sorted */
	char *error;
	size_t error_size;
} Reader;

static bool
failed(Reader *r, const char *what, const char *why)
{
	snprintf(r->error, r->error_size, "%s%s%s", what, why[0] ? ": " : "", why);
	return false;
}

static bool
failed_status(Reader *r, const char *what)
{
	return failed(r, what, nats_last_text());
}

/* ---- what is there ---- */

static int
hex(char ch)
{
	if (ch >= '0' && ch <= '9')
		return ch - '0';
	ch |= 0x20;
	return ch >= 'a' && ch <= 'f' ? ch - 'a' + 10 : -1;
}

/* Percent-encoded -> bytes. */
static size_t
decode(const char *text, char *out, size_t size)
{
	size_t n = 0;

	for (; *text != '\0' && n < size; text++)
	{
		if (text[0] == '%' && hex(text[1]) >= 0 && hex(text[2]) >= 0)
		{
			out[n++] = (char) (hex(text[1]) << 4 | hex(text[2]));
			text += 2;
		}
		else
			out[n++] = *text;
	}
	return n;
}

static int
compare_topics(const void *a, const void *b)
{
	return strcmp(*(const char *const *) a, *(const char *const *) b);
}

static bool
tell_message(void *arg, natsMsg *m, const NatsPlace *place)
{
	Reader *r = arg;
	UsherVerifier *v = r->v;
	const char *subject = natsMsg_GetSubject(m), *key;
	const char **topic;
	bool has_key;

	if (place->position < v->from || place->position > v->to)
		return true;
	topic = bsearch(&subject, r->topics, (size_t) v->ntopics, sizeof(char *), compare_topics);
	if (topic == NULL)
		return true;
	has_key = natsMsgHeader_Get(m, "ce-partitionkey", &key) == NATS_OK;
	return v->seen(v, *topic, -1, has_key ? r->key : NULL,
				   has_key ? decode(key, r->key, KEY_MAX) : 0, place->position, place->replay != 0);
}

/* ---- what is not there any more ---- */

static bool
first_position(void *arg, natsMsg *m, const NatsPlace *place)
{
	(void) m;
	if (place->replay == 0)
		((Reader *) arg)->first = place->position;
	return place->replay != 0;
}

static bool
find_first(Reader *r, const char *subject)
{
	NatsRange range = {
		.subject = subject, .first = r->info->State.FirstSeq, .last = r->info->State.LastSeq};

	r->first = 0;
	return r->info->State.Msgs == 0 ||
		   nats_stream_read(&r->config, r->js, &range, first_position, r) == NATS_OK ||
		   failed_status(r, "cannot read the stream's beginning");
}

static bool
tell_oldest(Reader *r)
{
	UsherVerifier *v = r->v;
	bool by_subject = r->info->Config->MaxMsgsPerSubject > 0, lost;

	lost = r->info->State.FirstSeq > 1;
	if (lost && !by_subject && !find_first(r, NULL))
		return false;
	for (int i = 0; i < v->ntopics; i++)
	{
		if (by_subject && !find_first(r, v->topics[i]))
			return false;
		if (!lost && !by_subject)
			v->oldest(v, v->topics[i], -1, 0);
		else
			v->oldest(v, v->topics[i], -1, r->first > 0 ? r->first : v->to + 1);
	}
	return true;
}

/* ---- all of it ---- */

static bool
connect_reader(Reader *r)
{
	jsOptions options;
	natsStatus status = nats_connect(&r->connection, &r->config, 0, NULL, NULL);

	for (int i = 1; status != NATS_OK && i < r->config.nservers; i++)
		status = nats_connect(&r->connection, &r->config, i, NULL, NULL);
	if (status != NATS_OK)
		return failed_status(r, "cannot connect to NATS");
	(void) jsOptions_Init(&options);
	options.Wait = r->v->timeout_ms;
	if (natsConnection_JetStream(&r->js, r->connection, &options) != NATS_OK ||
		js_GetStreamInfo(&r->info, r->js, r->config.stream, NULL, NULL) != NATS_OK)
		return failed_status(r, r->config.stream);
	if (r->info->Config->Retention != js_LimitsPolicy)
		return failed(r, r->config.stream,
					  "the stream removes what its consumers have read: it cannot be read back");
	return true;
}

static bool
read_back(Reader *r)
{
	UsherVerifier *v = r->v;
	int64_t since_ms = v->since_ms - MARGIN_MS;
	NatsRange range = {
		.subject = v->ntopics == 1 && nats_subject_ok(v->topics[0], strlen(v->topics[0]))
					   ? v->topics[0]
					   : NULL,
		.since_ns = since_ms > 0 ? since_ms * 1000000 : 0,
		.first = r->info->State.FirstSeq,
		.last = r->info->State.LastSeq,
	};

	if (r->info->State.Msgs == 0)
		return true;
	memcpy(r->topics, v->topics, (size_t) v->ntopics * sizeof(char *));
	qsort(r->topics, (size_t) v->ntopics, sizeof(char *), compare_topics);
	return nats_stream_read(&r->config, r->js, &range, tell_message, r) == NATS_OK ||
		   failed_status(r, "cannot read the stream");
}

bool
nats_verify(const UsherSinkContext *context, UsherVerifier *v, char *error, size_t error_size)
{
	Reader r = {.v = v, .error = error, .error_size = error_size};
	sigset_t all, before;
	bool ok;

	error[0] = '\0';
	if (!nats_config_read(context, &r.config, error, error_size))
	{
		nats_config_free(&r.config);
		return false;
	}
	r.config.timeout_ms = v->timeout_ms;
	r.key = malloc(KEY_MAX);
	r.topics = calloc((size_t) v->ntopics + 1, sizeof(char *));
	/* The threads that libnats makes on the way get no signals. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	ok = r.key != NULL && r.topics != NULL ? connect_reader(&r) : failed(&r, "out of memory", "");
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	ok = ok && tell_oldest(&r) && read_back(&r);
	jsStreamInfo_Destroy(r.info);
	jsCtx_Destroy(r.js);
	natsConnection_Destroy(r.connection);
	nats_config_free(&r.config);
	free(r.key);
	free(r.topics);
	return ok || error[0] == '\0'; /* without a text: seen() said stop */
}
