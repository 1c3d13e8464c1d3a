/*
 * gateway/appends.c
 *	  Appends as elements of batches: a batch as the parameter of usher.append_requests, and its results.
 *
 * Both in PostgreSQL's binary format.  The order of fields is that of the types
 * usher.append_request and usher.request_event, and of the statement.
 */
#include "appends.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "lib/pgbinary.h"

#define REQUEST_FIELDS 9
#define EVENT_FIELDS   8

/* A length, the fields' heads and what is around them; see append_write(). */
#define REQUEST_BYTES (16 + REQUEST_FIELDS * 8 + 20 + 32)
#define EVENT_BYTES   (8 + EVENT_FIELDS * 8 + 8 + 16)

static Slice
slice_of(const char *string)
{
	return string[0] != '\0' ? (Slice){string, strlen(string)} : (Slice){NULL, 0};
}

static bool
event_valid(const AppendEvent *event)
{
	return slice_is_text(event->stream) && slice_is_text(event->topic) &&
		   slice_is_text(event->key) && slice_is_text(event->type) && slice_is_text(event->data) &&
		   slice_is_text(event->metadata) &&
		   (event->event_id.data == NULL || event->event_id.len == 16);
}

/* Would a second sending be recognised? By its key, or by ids of all events. */
static bool
is_repeatable(const AppendRequest *request)
{
	for (int i = 0; i < request->nevents; i++)
		if (request->events[i].event_id.data == NULL)
			return request->element.key.data != NULL;
	return true;
}

static bool
append_measure(Element *element)
{
	const AppendRequest *request = (const AppendRequest *) element;
	const Slice texts[] = {slice_of(element->tenant),     element->user,
						   slice_of(request->actor_type), element->key,
						   request->correlation_id,       request->causation_id,
						   request->traceparent};

	element->bytes = REQUEST_BYTES;
	element->events = request->nevents;
	element->repeatable = is_repeatable(request);
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
	{
		if (!slice_is_text(texts[i]))
			return false;
		element->bytes += texts[i].len;
	}
	for (int i = 0; i < request->nevents; i++)
	{
		const AppendEvent *event = &request->events[i];

		if (!event_valid(event))
			return false;
		element->bytes += EVENT_BYTES + event->stream.len + event->topic.len + event->key.len +
						  event->type.len + event->data.len + event->metadata.len;
	}
	return true;
}

/* Types raise errors, streams are waited for. */
static bool
append_trait(const Element *element, int i, bool *locks, Slice *name)
{
	const AppendRequest *request = (const AppendRequest *) element;

	if (i / 2 >= request->nevents)
		return false;
	*locks = i % 2 != 0;
	*name = *locks ? request->events[i / 2].stream : request->events[i / 2].type;
	return true;
}

static void
write_event(Text *text, const AppendEvent *event)
{
	size_t begin = binary_begin(text);

	binary_record(text, EVENT_FIELDS);
	binary_field(text, BINARY_TEXT, event->stream);
	binary_field(text, BINARY_TEXT, event->type);
	binary_field(text, BINARY_TEXT, event->data);
	binary_field(text, BINARY_TEXT, event->metadata);
	binary_field_int64(text, !event->has_expected_version, event->expected_version);
	binary_field(text, BINARY_UUID, event->event_id);
	binary_field(text, BINARY_TEXT, event->topic);
	binary_field(text, BINARY_TEXT, event->key);
	binary_end(text, begin);
}

static void
append_write(Batch *batch)
{
	Text *text = &batch->parameters[0];
	Oid event_type = db_type("usher.request_event");
	Oid events_type = db_type("usher.request_event[]");

	binary_array(text, db_type("usher.append_request"), batch->n);
	for (int i = 0; i < batch->n; i++)
	{
		const Element *element = batch->elements[i];
		const AppendRequest *request = (const AppendRequest *) element;
		bool keyed = element->key.data != NULL;
		Slice fingerprint = {(const char *) request->fingerprint, sizeof(request->fingerprint)};
		size_t begin = binary_begin(text);
		size_t events;

		binary_record(text, REQUEST_FIELDS);
		binary_field(text, BINARY_TEXT, slice_of(element->tenant));
		binary_field(text, BINARY_TEXT, element->user);
		binary_field(text, BINARY_TEXT, slice_of(request->actor_type));
		binary_field(text, BINARY_TEXT, element->key);
		binary_field(text, BINARY_BYTEA, keyed ? fingerprint : (Slice){NULL, 0});
		binary_field(text, BINARY_TEXT, request->correlation_id);
		binary_field(text, BINARY_TEXT, request->causation_id);
		binary_field(text, BINARY_TEXT, request->traceparent);
		events = binary_field_begin(text, events_type);
		binary_array(text, event_type, request->nevents);
		for (int j = 0; j < request->nevents; j++)
			write_event(text, &request->events[j]);
		binary_end(text, events);
		binary_end(text, begin);
	}
}

/* ---- results ---- */

enum
{
	COLUMN_EVENT_INDEX = BATCH_COLUMNS,
	COLUMN_ACTUAL_VERSION,
	COLUMN_IDS,
	COLUMN_VERSIONS,
	COLUMN_POSITIONS,
	COLUMN_ORDINALS,
	COLUMNS
};

/* Of what was written: positions of a repeat are given, those of new events counted from the call's first. */
typedef struct Written
{
	BinaryItems ids, versions, positions, ordinals;
	bool has_positions, has_ordinals;
} Written;

/* n of each; an array that is null and may be so has none. */
static bool
open_array(BinaryItems *items, Slice value, int n, bool *has)
{
	if (has != NULL && !(*has = value.data != NULL))
		return true;
	return binary_open_array(items, value) && items->n == n;
}

static bool
open_written(Written *written, const PGresult *result, int row, int n)
{
	return open_array(&written->ids, batch_value(result, row, COLUMN_IDS), n, NULL) &&
		   open_array(&written->versions, batch_value(result, row, COLUMN_VERSIONS), n, NULL) &&
		   open_array(&written->positions, batch_value(result, row, COLUMN_POSITIONS), n,
					  &written->has_positions) &&
		   open_array(&written->ordinals, batch_value(result, row, COLUMN_ORDINALS), n,
					  &written->has_ordinals);
}

/* The position of the next event; false: there is none. */
static bool
read_position(Written *written, const Batch *batch, int64_t *position)
{
	Slice value;
	int32_t ordinal = 0;

	*position = 0;
	if (written->has_positions && (!binary_next(&written->positions, &value) ||
								   (value.data != NULL && !binary_read_int64(value, position))))
		return false;
	if (written->has_ordinals && (!binary_next(&written->ordinals, &value) ||
								  (value.data != NULL && !binary_read_int32(value, &ordinal))))
		return false;
	if (ordinal <= 0)
		return written->has_positions;
	*position = batch->first + ordinal - 1;
	return batch->range_known && *position <= batch->last;
}

static bool
read_event(Written *written, const Batch *batch, AppendedEvent *event)
{
	Slice id, version;

	if (!binary_next(&written->ids, &id) || id.len != sizeof(event->id) ||
		!binary_next(&written->versions, &version) ||
		!binary_read_int64(version, &event->version) ||
		!read_position(written, batch, &event->position))
		return false;
	memcpy(event->id, id.data, sizeof(event->id));
	return true;
}

/* As many events as were given; false: they do not fit. */
static bool
read_events(const Batch *batch, const PGresult *result, int row, int n,
			const AppendedEvent **events)
{
	static AppendedEvent *room;
	static int room_for;
	Written written;

	if (!open_written(&written, result, row, n))
		return false;
	if (room_for < n)
	{
		room_for = n;
		room = realloc(room, (size_t) n * sizeof(*room));
		if (room == NULL)
			abort();
	}
	for (int i = 0; i < n; i++)
		if (!read_event(&written, batch, &room[i]))
			return false;
	*events = room;
	return true;
}

static bool
append_row(const Batch *batch, Element *element, const PGresult *result, int row,
		   const BatchResult *known)
{
	AppendRequest *request = (AppendRequest *) element;
	AppendResult appended = {.known = *known, .event_index = -1, .actual_version = -1};
	Slice index = batch_value(result, row, COLUMN_EVENT_INDEX);
	Slice version = batch_value(result, row, COLUMN_ACTUAL_VERSION);

	if (known->outcome == BATCH_DONE
			? !read_events(batch, result, row, request->nevents, &appended.events)
			: (index.data != NULL && !binary_read_int32(index, &appended.event_index)) ||
				  (version.data != NULL && !binary_read_int64(version, &appended.actual_version)))
		return false;
	request->done(request, &appended);
	return true;
}

static void
append_end(Element *element, const BatchResult *result)
{
	AppendRequest *request = (AppendRequest *) element;
	AppendResult appended = {.known = *result, .event_index = -1, .actual_version = -1};

	request->done(request, &appended);
}

BatchKind append_kind = {
	.statement = {"append_requests",
				  "SELECT element, sqlstate, message, detail, hint, replayed, event_index,"
				  " actual_version, ids, versions, positions, ordinals"
				  " FROM usher.append_requests($1)",
				  1, true},
	.columns = COLUMNS,
	.lane = LANE_WRITE,
	.keys_apart = true,
	.elements_max = INT_MAX,
	.mixed_max = 64,
	.measure = append_measure,
	.trait = append_trait,
	.write = append_write,
	.row = append_row,
	.end = append_end,
};
