/*
 * extension/lib/cloudevents.h
 *	  CloudEvents 1.0.2 in JSON (structured mode), and the rules of attributes.
 *
 * https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md
 */
#ifndef USHER_CLOUDEVENTS_H
#define USHER_CLOUDEVENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct UsherAttribute
{
	const char *name; /* lower case letters and digits, without any prefix */
	const char *value; /* UTF-8, without U+0000; ends in a zero byte */
	size_t len;
	bool is_number; /* written without quotes if it is a CloudEvents Integer: 32 bits */
} UsherAttribute;

/*
 * Write the event as one JSON object into out[size]: the attributes in their
 * order, then "data" with the given JSON text (none when data is NULL).
 * Returns the length that it has or would have (nothing is written behind
 * size); as with snprintf, call again with more room.  No zero byte is added.
 *
 * Names and values are escaped whatever they contain (a byte that is not UTF-8
 * becomes U+FFFD), so the result is JSON if data is.
 */
extern size_t usher_cloudevent_json(const UsherAttribute *attributes, int n, const char *data,
									size_t data_len, char *out, size_t size);

/* Is this a name that CloudEvents allows: 1 to 20 of a-z and 0-9, and not "data"? */
extern bool usher_cloudevent_name_ok(const char *name);

/*
 * Percent-encode a value for a header of the HTTP or NATS binding (section
 * 3.1.3.2 of the HTTP binding): space, ", % and all outside of U+0021..U+007E.
 * As above: returns the length that it has or would have.
 */
extern size_t usher_cloudevent_percent(const char *value, size_t len, char *out, size_t size);

#define USHER_TIME_LEN 27 /* 2026-01-31T12:34:56.123456Z */

/*
 * RFC 3339 in UTC with microseconds; `us` counts from the Unix epoch.  RFC 3339 has
 * the years 0000 to 9999: a time before or behind is their first or last microsecond.
 * No zero byte.
 */
extern void usher_cloudevent_time(int64_t us, char out[USHER_TIME_LEN]);

#endif /* USHER_CLOUDEVENTS_H */
