/*
 * gateway/handlers/append.h
 *	  What the handlers that write share.
 */
#ifndef USHERD_HANDLERS_APPEND_H
#define USHERD_HANDLERS_APPEND_H

#include "../appends.h"
#include "../lib/json_check.h"
#include "../request.h"

/* Is the body JSON? false: 400 was replied. */
extern bool body_json(Request *request, JsonValue *value);
/* Replies 422, of the event at index (-1: of the whole); always false. */
extern bool body_refused(Request *request, int index, const char *detail);
/* Absent for null and for no value; false (and no reply) when it is no string. */
extern bool body_string(Request *request, JsonValue value, Slice *text);
/* "01890a5d-ac96-774b-bcce-b302099a8057" to 16 bytes; false (and no reply): it is none. */
extern bool body_uuid(Request *request, Slice text, Slice *id);
/* The array of a body's events, of {"events": [...]} or of [...]; or the body itself, the one event. */
extern bool body_events(Request *request, JsonValue body, JsonValue *array, int *count);
/* data and metadata of an event: objects, or absent. */
extern bool
body_objects(Request *request, JsonValue data, JsonValue metadata, int index, AppendEvent *event);
/* May the identity append to the stream's category? false: 403 was replied. */
extern bool append_allowed(Request *request, Slice stream);

/* Appends the events, with what the request's headers say; done() replies when they are committed. */
extern void append_submit(Request *request, const AppendEvent *events, int nevents,
						  void (*done)(Request *request, const AppendRequest *append,
									   const AppendResult *result));
/* An end that is none of 201; members: of a refusal's problem; perhaps: the detail when nobody knows. */
extern void reply_not_done(Request *request, const BatchResult *result, const char *members,
						   const char *perhaps);
/* 201 with ids, versions and positions. */
extern void append_reply(Request *request, const AppendRequest *append, const AppendResult *result);

#endif /* USHERD_HANDLERS_APPEND_H */
