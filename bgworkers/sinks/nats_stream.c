/*
 * bgworkers/sinks/nats_stream.c
 *	  The stream: is it there, or shall it be made; what is in it.
 *
 * The server forgets the ids of messages that are older than its duplicate
 * window.  An outage may be longer.  So before anything is sent, what the stream
 * has of this sink behind the cursor, and the server may have forgotten, is read
 * back, as far as this sink can have got ahead of its cursor.
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
nats_id_parse(const NatsConfig *config, const char *id, NatsPlace *place)
{
	size_t len = strlen(config->id_prefix);
	char *end;

	if (strncmp(id, config->id_prefix, len) != 0)
		return false;
	place->position = strtoll(id + len, &end, 10);
	place->replay = 0;
	if (strncmp(end, ".r", 2) == 0)
		place->replay = strtoll(end + 2, &end, 10);
	return *end == '\0' && place->position > 0;
}

static bool
message_place(const NatsConfig *config, natsMsg *m, NatsPlace *place)
{
	const char *id;

	return natsMsgHeader_Get(m, "Nats-Msg-Id", &id) == NATS_OK && nats_id_parse(config, id, place);
}

/* A consumer that takes nothing away; *state: what it begins with. */
static natsStatus
consume(const NatsConfig *config, jsCtx *js, const NatsRange *range,
		natsSubscription **subscription, jsConsumerInfo **state)
{
	jsSubOptions options;
	natsStatus status = jsSubOptions_Init(&options);

	options.Stream = config->stream;
	options.Config.AckPolicy = js_AckNone;
	options.Config.HeadersOnly = true;
	options.Config.DeliverPolicy = range->since_ns > 0 ? js_DeliverByStartTime
													   : js_DeliverByStartSequence;
	options.Config.OptStartTime = range->since_ns;
	options.Config.OptStartSeq = range->since_ns > 0 ? 0 : range->first;
	if (status == NATS_OK)
		status = js_PullSubscribe(subscription, js, range->subject ? range->subject : ">", NULL,
								  NULL, &options, NULL);
	if (status == NATS_OK)
		status = natsSubscription_GetConsumerInfo(state, *subscription, NULL, NULL);
	return status;
}

static void
consume_end(natsSubscription *subscription, jsConsumerInfo *state)
{
	jsConsumerInfo_Destroy(state);
	if (subscription != NULL)
		(void) natsSubscription_Unsubscribe(subscription); /* removes the consumer */
	natsSubscription_Destroy(subscription);
}

/* The messages of a page; of the last one: its sequence, how many are behind it.  False: seen() said stop. */
static bool
take_page(const NatsConfig *config, natsMsgList *page, NatsSeen seen, void *arg, uint64_t *sequence,
		  uint64_t *pending)
{
	jsMsgMetaData *meta = NULL;
	bool go_on = true;

	for (int i = 0; go_on && i < page->Count; i++)
	{
		NatsPlace place;

		if (message_place(config, page->Msgs[i], &place))
			go_on = seen(arg, page->Msgs[i], &place);
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
	jsConsumerInfo *begin = NULL;
	uint64_t sequence = 0, pending;
	bool go_on = true;
	natsStatus status = consume(config, js, range, &subscription, &begin);

	pending = status == NATS_OK ? begin->NumPending : 0;
	while (status == NATS_OK && go_on && pending > 0 && sequence < range->last)
	{
		natsMsgList page = {0};

		status = natsSubscription_Fetch(&page, subscription, pending < PAGE ? (int) pending : PAGE,
										config->timeout_ms, NULL);
		go_on = take_page(config, &page, seen, arg, &sequence, &pending);
		natsMsgList_Destroy(&page);
	}
	consume_end(subscription, begin);
	return status;
}

/* ---- what it has behind the cursor ---- */

/* Of the same flow: the live one, what a seek repeats included, or this replay. */
static bool
is_of_flow(const NatsCourier *c, const NatsPlace *place)
{
	return c->config.replay != 0 ? place->replay == c->config.replay : place->replay <= 0;
}

static bool
note_known(void *arg, natsMsg *m, const NatsPlace *place)
{
	NatsCourier *c = arg;

	(void) m;
	nats_courier_progress(c);
	if (!is_of_flow(c, place) || place->position <= c->config.position)
		return true;
	if (c->nknown == c->known_size)
	{
		size_t size = 2 * c->known_size + 1024;
		NatsPlace *list = realloc(c->known, size * sizeof(NatsPlace));

		if (list == NULL)
			return false;
		c->known = list;
		c->known_size = size;
	}
	c->known[c->nknown++] = *place;
	return true;
}

int
nats_place_compare(const void *a, const void *b)
{
	const NatsPlace *x = a, *y = b;

	if (x->position != y->position)
		return x->position < y->position ? -1 : 1;
	return (x->replay > y->replay) - (x->replay < y->replay);
}

/*
 * The flow's message at this sequence, or one close behind (by = 1) or before it
 * (by = -1), lies at or before the cursor: what lies further back does so, too.
 */
static bool
lies_before(const NatsCourier *c, jsCtx *js, uint64_t sequence, int by)
{
	for (int i = 0; i < PROBES && sequence > 0; i++, sequence += (uint64_t) by)
	{
		natsMsg *m = NULL;
		NatsPlace place;
		bool ours;

		if (js_GetMsg(&m, js, c->config.stream, sequence, NULL, NULL) != NATS_OK)
			continue; /* deleted */
		ours = message_place(&c->config, m, &place) && is_of_flow(c, &place);
		natsMsg_Destroy(m);
		if (ours)
			return place.position <= c->config.position;
	}
	return false;
}

/* The last sequence that the server may have forgotten the id of.  Half a window is for clocks that differ. */
static natsStatus
forgotten_upto(const NatsCourier *c, jsCtx *js, const jsStreamInfo *info, uint64_t *sequence)
{
	natsSubscription *subscription = NULL;
	jsConsumerInfo *begin = NULL;
	NatsRange range = {.since_ns = nats_Now() * 1000000 - info->Config->Duplicates / 2};
	natsStatus status = NATS_OK;

	*sequence = info->State.LastSeq;
	if (info->State.FirstTime >= range.since_ns)
		*sequence = 0;
	else if (info->State.LastTime >= range.since_ns)
	{
		status = consume(&c->config, js, &range, &subscription, &begin);
		if (status == NATS_OK)
			*sequence = begin->Delivered.Stream;
		consume_end(subscription, begin);
	}
	return status;
}

static bool
read_forgotten(NatsCourier *c, jsCtx *js, const jsStreamInfo *info)
{
	uint64_t limit = (uint64_t) c->config.lanes * (uint64_t) (c->config.in_flight + SLACK);
	uint64_t step = c->config.lanes > 1 ? limit : STEP_FIRST, last = 0;
	NatsRange range = {.first = info->State.FirstSeq};
	natsStatus status;

	/* A consumer may remove what it reads from a stream of another retention. */
	if (info->State.Msgs == 0 || info->Config->Retention != js_LimitsPolicy)
		return true;
	status = forgotten_upto(c, js, info, &last);
	if (status == NATS_OK &&
		(last < range.first || (c->config.lanes == 1 && lies_before(c, js, last, -1))))
		return true;
	for (; status == NATS_OK && last - info->State.FirstSeq > step; step *= STEP_FACTOR)
	{
		if (step >= limit || lies_before(c, js, last - step, 1))
		{
			range.first = last - (step < limit ? step : limit);
			break;
		}
	}
	range.last = last;
	if (status == NATS_OK)
		status = nats_stream_read(&c->config, js, &range, note_known, c);
	if (status != NATS_OK)
		return failed(c, "cannot read the end of the stream", status, 0);
	if (c->nknown > 1)
		qsort(c->known, c->nknown, sizeof(NatsPlace), nats_place_compare);
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
	ok = ok && note_subjects(c, info) && read_forgotten(c, js, info);
	jsStreamInfo_Destroy(info);
	jsCtx_Destroy(js);
	return ok;
}
