/*
 * gateway/batch_message.c
 *	  A group of appends as the parameter of usher.append_requests, and its results.
 *
 * Both in PostgreSQL's binary format.  The order of fields is that of the types
 * usher.append_request, usher.request_event and of batch.c's statement.
 */
#include <string.h>

#include "batch_room.h"

#define REQUEST_FIELDS 9
#define EVENT_FIELDS   8

/* A length, the fields' heads and what is around them; see message_write(). */
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

bool
message_valid(const AppendRequest *request)
{
	if (!slice_is_text(slice_of(request->tenant)) || !slice_is_text(slice_of(request->user_id)) ||
		!slice_is_text(slice_of(request->actor_type)) || !slice_is_text(request->idempotency_key) ||
		!slice_is_text(request->correlation_id) || !slice_is_text(request->causation_id) ||
		!slice_is_text(request->traceparent))
		return false;
	for (int i = 0; i < request->nevents; i++)
		if (!event_valid(&request->events[i]))
			return false;
	return true;
}

size_t
message_bytes(const AppendRequest *request)
{
	size_t bytes = REQUEST_BYTES + strlen(request->tenant) + strlen(request->user_id) +
				   strlen(request->actor_type) + request->idempotency_key.len +
				   request->correlation_id.len + request->causation_id.len +
				   request->traceparent.len;

	for (int i = 0; i < request->nevents; i++)
	{
		const AppendEvent *event = &request->events[i];

		bytes += EVENT_BYTES + event->stream.len + event->topic.len + event->key.len +
				 event->type.len + event->data.len + event->metadata.len;
	}
	return bytes;
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

void
message_write(Text *text, const Group *group, Oid request_type, Oid event_type, Oid events_type)
{
	binary_array(text, request_type, group->n);
	for (int i = 0; i < group->n; i++)
	{
		const AppendRequest *request = &group->elements[i]->request;
		bool keyed = request->idempotency_key.data != NULL;
		Slice fingerprint = {(const char *) request->fingerprint, sizeof(request->fingerprint)};
		size_t begin = binary_begin(text);
		size_t events;

		binary_record(text, REQUEST_FIELDS);
		binary_field(text, BINARY_TEXT, slice_of(request->tenant));
		binary_field(text, BINARY_TEXT, slice_of(request->user_id));
		binary_field(text, BINARY_TEXT, slice_of(request->actor_type));
		binary_field(text, BINARY_TEXT, request->idempotency_key);
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

static Slice
column(const PGresult *result, int row, int number)
{
	if (PQgetisnull(result, row, number))
		return (Slice){NULL, 0};
	return (Slice){PQgetvalue(result, row, number), (size_t) PQgetlength(result, row, number)};
}

/* A text of a binary result; libpq ends it with a zero byte. */
static const char *
column_text(const PGresult *result, int row, int number)
{
	return PQgetisnull(result, row, number) ? "" : PQgetvalue(result, row, number);
}

bool
message_read(const PGresult *result, int at, MessageRow *row)
{
	int32_t element, event_index;
	Slice sqlstate = column(result, at, 1), index = column(result, at, 5);
	Slice version = column(result, at, 6), replayed = column(result, at, 7);
	Slice positions = column(result, at, 10), ordinals = column(result, at, 11);

	memset(row, 0, sizeof(*row));
	if (!binary_read_int32(column(result, at, 0), &element))
		return false;
	row->element = element;
	row->refused = sqlstate.data != NULL;
	row->result.message = column_text(result, at, 2);
	row->result.detail = column_text(result, at, 3);
	row->result.hint = column_text(result, at, 4);
	row->result.event_index = -1;
	row->result.actual_version = -1;
	row->result.replayed = replayed.len == 1 && replayed.data[0] != 0;
	if (row->refused)
	{
		if (sqlstate.len != 5)
			return false;
		memcpy(row->result.sqlstate, sqlstate.data, 5);
		if (index.data != NULL && !binary_read_int32(index, &event_index))
			return false;
		row->result.event_index = index.data != NULL ? event_index : -1;
		return version.data == NULL || binary_read_int64(version, &row->result.actual_version);
	}
	row->has_positions = positions.data != NULL;
	row->has_ordinals = ordinals.data != NULL;
	return binary_open_array(&row->ids, column(result, at, 8)) &&
		   binary_open_array(&row->versions, column(result, at, 9)) &&
		   (!row->has_positions || binary_open_array(&row->positions, positions)) &&
		   (!row->has_ordinals || binary_open_array(&row->ordinals, ordinals));
}

/* The position of the row's next event; false: there is none. */
static bool
read_position(MessageRow *row, const Group *group, int64_t *position)
{
	Slice value;
	int32_t ordinal = 0;

	*position = 0;
	if (row->has_positions && (!binary_next(&row->positions, &value) ||
							   (value.data != NULL && !binary_read_int64(value, position))))
		return false;
	if (row->has_ordinals && (!binary_next(&row->ordinals, &value) ||
							  (value.data != NULL && !binary_read_int32(value, &ordinal))))
		return false;
	if (ordinal <= 0)
		return row->has_positions;
	*position = group->first + ordinal - 1;
	return group->range_known && *position <= group->last;
}

bool
message_read_events(MessageRow *row, const Group *group, int n, AppendedEvent *events)
{
	if (row->ids.n != n || row->versions.n != n || (row->has_positions && row->positions.n != n) ||
		(row->has_ordinals && row->ordinals.n != n))
		return false;
	for (int i = 0; i < n; i++)
	{
		Slice id, version;

		if (!binary_next(&row->ids, &id) || id.len != sizeof(events[i].id) ||
			!binary_next(&row->versions, &version) ||
			!binary_read_int64(version, &events[i].version) ||
			!read_position(row, group, &events[i].position))
			return false;
		memcpy(events[i].id, id.data, sizeof(events[i].id));
	}
	return true;
}
