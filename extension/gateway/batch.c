/*
 * extension/gateway/batch.c
 *	  Elements that have been parsed: the locks of all of them, then the turn
 *	  of each.
 */
#include "gateway/gateway.h"

#include "miscadmin.h"
#include "utils/guc.h"

/* ---- locks ---- */

typedef struct Id
{
	int32 tenant_id;
	pg_uuid_t id;
} Id;

static int
compare_ids(const void *a, const void *b)
{
	const Id *x = a, *y = b;

	if (x->tenant_id != y->tenant_id)
		return x->tenant_id < y->tenant_id ? -1 : 1;
	return memcmp(&x->id, &y->id, UUID_LEN);
}

static bool
settled(const UsherRequest *request)
{
	return request->refusal != NULL || request->replayed;
}

static int
count_events(const UsherRequest *requests, int n)
{
	int events = 0;

	for (int i = 0; i < n; i++)
		if (!settled(&requests[i]))
			events += requests[i].nevents;
	return events;
}

/* For the context of an error that ends a wait: whose lock it is. */
typedef struct Waiting
{
	const UsherRequest *requests;
	int n;
	int32 tenant_id;
	const Id *id; /* NULL: a stream */
} Waiting;

static bool
wants(const UsherRequest *request, const Waiting *waiting, const text *stream)
{
	if (settled(request) || request->tenant_id != waiting->tenant_id)
		return false;
	for (int i = 0; i < request->nevents; i++)
	{
		const UsherRequestEvent *e = &request->events[i];

		if (waiting->id != NULL ? (e->event.flags & LOG_FLAG_ID_INDEXED) &&
									  memcmp(&e->event.id, &waiting->id->id, UUID_LEN) == 0
								: e->stream != NULL && stream != NULL &&
									  usher_stream_names_compare(&e->stream, &stream) == 0)
			return true;
	}
	return false;
}

/* The first one that wants it stands for all: they wait for the same. */
static void
waiting_context(void *arg)
{
	const Waiting *waiting = arg;
	const text *stream = waiting->id == NULL ? usher_stream_locking() : NULL;

	for (int i = 0; i < waiting->n; i++)
		if (wants(&waiting->requests[i], waiting, stream))
		{
			errcontext("append_requests element %d", waiting->requests[i].element);
			return;
		}
}

static void
lock_ids(const UsherRequest *requests, int n)
{
	Waiting waiting = {requests, n, 0, NULL};
	ErrorContextCallback context = {error_context_stack, waiting_context, &waiting};
	Id *ids = palloc_array(Id, Max(count_events(requests, n), 1));
	int count = 0;

	for (int i = 0; i < n; i++)
		for (int k = 0; !settled(&requests[i]) && k < requests[i].nevents; k++)
		{
			const UsherEvent *event = &requests[i].events[k].event;

			if (event->flags & LOG_FLAG_ID_INDEXED)
				ids[count++] = (Id){event->tenant_id, event->id};
		}
	qsort(ids, count, sizeof(Id), compare_ids);
	error_context_stack = &context;
	for (int i = 0; i < count; i++)
	{
		waiting.tenant_id = ids[i].tenant_id;
		waiting.id = &ids[i];
		if (i == 0 || compare_ids(&ids[i - 1], &ids[i]) != 0)
			usher_event_id_lock(ids[i].tenant_id, &ids[i].id);
	}
	error_context_stack = context.previous;
	pfree(ids);
}

typedef struct Wanted
{
	int32 tenant_id;
	UsherStreamWanted stream;
} Wanted;

static int
compare_wanted_tenants(const void *a, const void *b)
{
	const Wanted *x = a, *y = b;

	return x->tenant_id < y->tenant_id ? -1 : x->tenant_id > y->tenant_id;
}

static Wanted *
wanted_streams(const UsherRequest *requests, int n, int *count)
{
	Wanted *wanted = palloc_array(Wanted, Max(count_events(requests, n), 1));

	*count = 0;
	for (int i = 0; i < n; i++)
		for (int k = 0; !settled(&requests[i]) && k < requests[i].nevents; k++)
		{
			const UsherRequestEvent *e = &requests[i].events[k];

			if (e->stream == NULL)
				continue;
			wanted[*count].tenant_id = requests[i].tenant_id;
			wanted[(*count)++].stream = (UsherStreamWanted){e->stream,
															!e->has_expected || e->expected == 0};
		}
	qsort(wanted, *count, sizeof(Wanted), compare_wanted_tenants);
	return wanted;
}

/* Of all tenants, in the order of tenants, then names. */
static void
lock_streams(const UsherRequest *requests, int n)
{
	int count;
	Wanted *wanted = wanted_streams(requests, n, &count);
	UsherStreamWanted *streams = palloc_array(UsherStreamWanted, Max(count, 1));
	Waiting waiting = {requests, n, 0, NULL};
	ErrorContextCallback context = {error_context_stack, waiting_context, &waiting};

	error_context_stack = &context;
	for (int begin = 0, end; begin < count; begin = end)
	{
		waiting.tenant_id = wanted[begin].tenant_id;
		for (end = begin; end < count && wanted[end].tenant_id == wanted[begin].tenant_id; end++)
			streams[end - begin] = wanted[end].stream;
		usher_streams_lock(wanted[begin].tenant_id, streams, end - begin);
	}
	error_context_stack = context.previous;
	pfree(streams);
	pfree(wanted);
}

/* ---- the turn of an element ---- */

static void
become_setting(const char *name, const char *current, const char *value)
{
	if (strcmp(current, value) != 0)
		(void) set_config_option(name, value, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0,
								 false);
}

/* Projections see the element's tenant and actor; so does what fills metadata. */
static void
become(const UsherRequest *request)
{
	become_setting("usher.tenant", usher_tenant_slug, request->tenant);
	become_setting("usher.actor", usher_actor, request->actor);
	become_setting("usher.correlation_id", usher_correlation_id, request->correlation_id);
	become_setting("usher.causation_id", usher_causation_id, request->causation_id);
	become_setting("usher.traceparent", usher_traceparent, request->traceparent);
}

static int
compare_id_pointers(const void *a, const void *b)
{
	return memcmp(*(const pg_uuid_t *const *) a, *(const pg_uuid_t *const *) b, UUID_LEN);
}

static void
refuse_id_twice(const UsherRequest *request)
{
	const pg_uuid_t **ids = palloc_array(const pg_uuid_t *, request->nevents);
	int n = 0;

	for (int i = 0; i < request->nevents; i++)
		if (request->events[i].event.flags & LOG_FLAG_ID_INDEXED)
			ids[n++] = &request->events[i].event.id;
	qsort(ids, n, sizeof(*ids), compare_id_pointers);
	for (int i = 1; i < n; i++)
		if (compare_id_pointers(&ids[i - 1], &ids[i]) == 0)
			ereport(ERROR, (errcode(ERRCODE_USHER_EVENT_ID_CONFLICT),
							errmsg("two events of the request have the same id")));
	pfree(ids);
}

/* An element is a repeat as a whole or not at all. */
static void
find_originals(UsherRequest *request, void *arg)
{
	int repeats = 0, given = 0;

	for (int i = 0; i < request->nevents; i++)
	{
		UsherRequestEvent *e = &request->events[i];
		UsherOriginal original;

		if (!(e->event.flags & LOG_FLAG_ID_INDEXED))
			continue;
		given++;
		request->event_index = i;
		if (!usher_event_find_original(&e->event, e->stream, &original))
			continue;
		repeats++;
		e->version = original.version;
		e->position = original.position;
		e->ordinal = original.ordinal;
	}
	request->event_index = -1;
	if (given > 1)
		refuse_id_twice(request);
	if (repeats > 0 && repeats < request->nevents)
		ereport(ERROR, (errcode(ERRCODE_USHER_EVENT_ID_CONFLICT),
						errmsg("%d of %d events of the request have been appended before", repeats,
							   request->nevents),
						errhint("A request must be repeated as it was, or be new.")));
	request->replayed = repeats == request->nevents;
}

/* The stream as it will be when the event's turn comes: each one before it counts. */
static void
check_versions(UsherRequest *request, void *arg)
{
	for (int i = 0; i < request->nevents; i++)
	{
		UsherRequestEvent *e = &request->events[i];

		if (e->stream == NULL)
			continue;
		request->event_index = i;
		e->event.stream = usher_stream_locked(request->tenant_id, e->stream);
		request->actual_version = e->event.stream ? e->event.stream->head : 0;
		usher_check_expected(e->event.stream, e->stream, e->has_expected, e->expected);
		Ensure(e->event.stream != NULL, "a stream of the request is not locked");
		e->version = ++e->event.stream->head;
		e->flags_before = e->event.stream->head_flags;
		e->event.stream->head_flags = 0;
	}
	request->event_index = -1;
	request->actual_version = -1;
}

/* What check_versions made of the streams, up to where it came. */
static void
restore_versions(UsherRequest *request)
{
	for (int i = request->nevents - 1; i >= 0; i--)
	{
		UsherRequestEvent *e = &request->events[i];

		if (e->event.stream == NULL || e->version == 0)
			continue;
		e->event.stream->head--;
		e->event.stream->head_flags = e->flags_before;
	}
}

static void
fill_metadata(UsherRequest *request, void *scratch)
{
	for (int i = 0; i < request->nevents; i++)
	{
		UsherEvent *event = &request->events[i].event;

		MemoryContext caller = MemoryContextSwitchTo(scratch);

		request->event_index = i;
		event->metadata = usher_metadata_fill(event->metadata);
		usher_check_object(event->metadata, "event metadata");
		event->metadata = usher_request_kept(event->metadata, caller);
		MemoryContextReset(scratch);
	}
	request->event_index = -1;
}

static bool
check(UsherRequest *request, MemoryContext scratch)
{
	bool fine;

	if (!usher_request_try(request, find_originals, NULL) || request->replayed)
		return false;
	fine = usher_request_try(request, check_versions, NULL);
	restore_versions(request);
	if (!fine)
		return false;
	become(request);
	return usher_request_try(request, fill_metadata, scratch);
}

static void
append(UsherRequest *request)
{
	for (int i = 0; i < request->nevents; i++)
	{
		UsherRequestEvent *e = &request->events[i];

		e->ordinal = usher_outbox_count() + 1;
		e->version = usher_append_event(&e->event);
	}
}

static void
element_context(void *arg)
{
	errcontext("append_requests element %d", ((const UsherRequest *) arg)->element);
}

/* The settings that elements change are restored by the caller, also when a projection raises an error. */
void
usher_requests_append(UsherRequest *requests, int n)
{
	MemoryContext scratch = AllocSetContextCreate(CurrentMemoryContext, "usher metadata",
												  ALLOCSET_DEFAULT_SIZES);
	int nest_level;

	usher_request_keys_lock(requests, n);
	lock_ids(requests, n);
	lock_streams(requests, n);
	nest_level = NewGUCNestLevel();
	for (int i = 0; i < n; i++)
	{
		ErrorContextCallback context = {error_context_stack, element_context, &requests[i]};

		CHECK_FOR_INTERRUPTS();
		if (settled(&requests[i]))
			continue;
		error_context_stack = &context;
		if (check(&requests[i], scratch))
			append(&requests[i]);
		error_context_stack = context.previous;
	}
	AtEOXact_GUC(false, nest_level);
	MemoryContextDelete(scratch);
	usher_streams_take_back();
	usher_request_keys_write(requests, n);
}
