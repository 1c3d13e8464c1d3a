/*
 * bgworkers/sinks/nats_stream.c
 *	  The stream: is it there, or shall it be made; what is in it.
 *
 * The server forgets the ids of messages that are older than its duplicate
 * window.  An outage may be longer.  So before anything is sent, what the stream
 * has of this sink behind the cursor is read back, from its end, as far as this
 * sink can have got ahead of its cursor.
 */
#include "sinks/nats.h"

#include <stdio.h>
#include <stdlib.h>

#define PAGE        1000
#define STEP_FIRST  1000
#define STEP_FACTOR 8
#define PROBES      16 /* messages that are asked for until one is ours */
#define SLACK       50000 /* sent since the cursor was written down */

static bool
failed(NatsCourier *c, const char *what, natsStatus status, jsErrCode err)
{
	char code[24];

	if (err == 0)
	{
		nats_broken(c, SINK_LOST, nats_status_code(status), "NATS: %s %s: %s", what,
					c->config.stream, nats_last_text());
		return false;
	}
	snprintf(code, sizeof(code), "JS_%d", (int) err);
	nats_broken(c, SINK_LOST, code, "NATS: %s %s: %s", what, c->config.stream, nats_last_text());
	return false;
}

/* a,b,c -> pointers into the copy */
static int
split(char *list, const char **subjects)
{
	int n = 0;
	char *rest, *word = strtok_r(list, ", ", &rest);

	for (; word != NULL && n < NATS_SUBJECTS_MAX; word = strtok_r(NULL, ", ", &rest))
		subjects[n++] = word;
	return n;
}

static bool
make_stream(NatsCourier *c, jsCtx *js, jsStreamInfo **info)
{
	const char *subjects[NATS_SUBJECTS_MAX];
	char *list = strdup(c->config.subjects);
	jsStreamConfig wanted;
	natsStatus status;
	jsErrCode err = 0;

	if (list == NULL || jsStreamConfig_Init(&wanted) != NATS_OK)
	{
		free(list);
		nats_broken(c, SINK_LOST, "MEMORY", "out of memory");
		return false;
	}
	wanted.Name = c->config.stream;
	wanted.Subjects = subjects;
	wanted.SubjectsLen = split(list, subjects);
	wanted.Storage = c->config.in_memory ? js_MemoryStorage : js_FileStorage;
	wanted.Replicas = c->config.replicas;
	wanted.Duplicates = c->config.duplicate_window_ms * 1000000;
	status = js_AddStream(info, js, &wanted, NULL, &err);
	free(list);
	if (status == NATS_OK)
		return true;
	/* Another lane was faster. */
	if (err == JSStreamNameExistErr &&
		js_GetStreamInfo(info, js, c->config.stream, NULL, &err) == NATS_OK)
		return true;
	return failed(c, "cannot make the stream", status, err);
}

static bool
note_subjects(NatsCourier *c, const jsStreamInfo *info)
{
	for (int i = 0; i < info->Config->SubjectsLen && i < NATS_SUBJECTS_MAX; i++)
	{
		c->subjects[i] = strdup(info->Config->Subjects[i]);
		if (c->subjects[i] == NULL)
		{
			nats_broken(c, SINK_LOST, "MEMORY", "out of memory");
			return false;
		}
		c->nsubjects++;
	}
	return true;
}

/* ---- what is in it ---- */

/* <log>.<sink>.<position>[.r<number>], and no copy for dead letters. */
bool
nats_id_parse(const NatsConfig *config, const char *id, int64_t *position, bool *replay)
{
	size_t len = strlen(config->id_prefix);
	char *end;

	if (strncmp(id, config->id_prefix, len) != 0)
		return false;
	*position = strtoll(id + len, &end, 10);
	*replay = strncmp(end, ".r", 2) == 0;
	if (*replay)
		(void) strtoll(end + 2, &end, 10);
	return *end == '\0' && *position > 0;
}

static bool
message_position(const NatsConfig *config, natsMsg *m, int64_t *position, bool *replay)
{
	const char *id;

	return natsMsgHeader_Get(m, "Nats-Msg-Id", &id) == NATS_OK &&
		   nats_id_parse(config, id, position, replay);
}

/* The messages of a page; the sequence of the last one, how many are behind it.  False: seen() said stop. */
static bool
take_page(const NatsConfig *config, natsMsgList *page, NatsSeen seen, void *arg, uint64_t *sequence,
		  uint64_t *pending)
{
	jsMsgMetaData *meta = NULL;
	bool go_on = true;

	for (int i = 0; go_on && i < page->Count; i++)
	{
		int64_t position;
		bool replay;

		if (message_position(config, page->Msgs[i], &position, &replay))
			go_on = seen(arg, page->Msgs[i], position, replay);
	}
	if (page->Count > 0 && natsMsg_GetMetaData(&meta, page->Msgs[page->Count - 1]) == NATS_OK)
	{
		*sequence = meta->Sequence.Stream;
		*pending = meta->NumPending;
	}
	jsMsgMetaData_Destroy(meta);
	return go_on;
}

natsStatus
nats_stream_read(const NatsConfig *config, jsCtx *js, const NatsRange *range, NatsSeen seen,
				 void *arg)
{
	natsSubscription *subscription = NULL;
	jsSubOptions options;
	jsConsumerInfo *consumer = NULL;
	uint64_t sequence = 0, pending = 0;
	bool go_on = true;
	natsStatus status = jsSubOptions_Init(&options);

	options.Stream = config->stream;
	options.Config.AckPolicy = js_AckNone;
	options.Config.HeadersOnly = true;
	options.Config.DeliverPolicy = range->since_ns > 0 ? js_DeliverByStartTime
													   : js_DeliverByStartSequence;
	options.Config.OptStartTime = range->since_ns;
	options.Config.OptStartSeq = range->since_ns > 0 ? 0 : range->first;
	if (status == NATS_OK)
		status = js_PullSubscribe(&subscription, js, range->subject ? range->subject : ">", NULL,
								  NULL, &options, NULL);
	if (status == NATS_OK)
		status = natsSubscription_GetConsumerInfo(&consumer, subscription, NULL, NULL);
	if (status == NATS_OK)
		pending = consumer->NumPending;
	jsConsumerInfo_Destroy(consumer);
	while (status == NATS_OK && go_on && pending > 0 && sequence < range->last)
	{
		natsMsgList page = {0};

		status = natsSubscription_Fetch(&page, subscription, pending < PAGE ? (int) pending : PAGE,
										config->timeout_ms, NULL);
		go_on = take_page(config, &page, seen, arg, &sequence, &pending);
		natsMsgList_Destroy(&page);
	}
	if (subscription != NULL)
		(void) natsSubscription_Unsubscribe(subscription); /* removes the consumer */
	natsSubscription_Destroy(subscription);
	return status;
}

static bool
note_known(void *arg, natsMsg *m, int64_t position, bool replay)
{
	NatsCourier *c = arg;

	(void) m;
	if (replay || position <= c->config.position)
		return true;
	if (c->nknown == c->known_size)
	{
		size_t size = 2 * c->known_size + 1024;
		int64_t *list = realloc(c->known, size * sizeof(int64_t));

		if (list == NULL)
			return false;
		c->known = list;
		c->known_size = size;
	}
	c->known[c->nknown++] = position;
	return true;
}

static int
compare_positions(const void *a, const void *b)
{
	int64_t x = *(const int64_t *) a, y = *(const int64_t *) b;

	return (x > y) - (x < y);
}

/* Is everything of this sink behind the cursor stored behind this sequence? */
static bool
begins_before(const NatsCourier *c, jsCtx *js, uint64_t sequence)
{
	for (int i = 0; i < PROBES; i++)
	{
		natsMsg *m = NULL;
		int64_t position = 0;
		bool replay = false, ours;

		if (js_GetMsg(&m, js, c->config.stream, sequence + (uint64_t) i, NULL, NULL) != NATS_OK)
			continue; /* deleted */
		ours = message_position(&c->config, m, &position, &replay) && !replay;
		natsMsg_Destroy(m);
		if (ours)
			return position <= c->config.position;
	}
	return false;
}

static bool
read_window(NatsCourier *c, jsCtx *js, const jsStreamInfo *info)
{
	const jsStreamState *state = &info->State;
	uint64_t limit = (uint64_t) c->config.lanes * (uint64_t) (2 * c->config.in_flight + SLACK);
	uint64_t step = c->config.lanes > 1 ? limit : STEP_FIRST;
	NatsRange range = {.last = state->LastSeq, .first = state->FirstSeq};
	natsStatus status;

	/* A consumer may remove what it reads from a stream of another retention. */
	if (c->config.replay || state->Msgs == 0 || info->Config->Retention != js_LimitsPolicy)
		return true;
	for (; state->LastSeq - state->FirstSeq > step; step *= STEP_FACTOR)
	{
		range.first = state->LastSeq - step;
		if (step >= limit || begins_before(c, js, range.first))
			break;
		range.first = state->FirstSeq;
	}
	status = nats_stream_read(&c->config, js, &range, note_known, c);
	if (status != NATS_OK)
		return failed(c, "cannot read the end of the stream", status, 0);
	if (c->nknown > 1)
		qsort(c->known, c->nknown, sizeof(int64_t), compare_positions);
	return true;
}

bool
nats_stream_prepare(NatsCourier *c, natsConnection *connection)
{
	jsOptions options;
	jsCtx *js = NULL;
	jsStreamInfo *info = NULL;
	jsErrCode err = 0;
	natsStatus status = jsOptions_Init(&options);
	bool ok;

	options.Wait = c->config.connect_timeout_ms;
	if (status == NATS_OK)
		status = natsConnection_JetStream(&js, connection, &options);
	if (status == NATS_OK)
		status = js_GetStreamInfo(&info, js, c->config.stream, NULL, &err);
	if (status == NATS_OK)
		ok = true;
	else if (err == JSStreamNotFoundErr && c->config.create_stream)
		ok = make_stream(c, js, &info);
	else
		ok = failed(c, "stream", status, err);
	ok = ok && note_subjects(c, info) && read_window(c, js, info);
	jsStreamInfo_Destroy(info);
	jsCtx_Destroy(js);
	return ok;
}
