/*
 * gateway/routes.c
 *	  The table of routes.  What stands here is what /openapi.json says.
 *
 * Replies that every route can give (400, 401, 403, 404, 405, 429, 503 ...) are added by openapi.c.
 */
#include "handlers/handlers.h"
#include "router.h"

#define STREAM                                                                       \
	{                                                                                \
		"stream", "path", "{\"type\":\"string\",\"minLength\":1,\"maxLength\":255}", \
			"The stream's name.", true                                               \
	}
#define MAX                                                                                      \
	{                                                                                            \
		"max", "query", "{\"type\":\"integer\",\"minimum\":1,\"maximum\":1000,\"default\":100}", \
			"At most so many items.", false                                                      \
	}
#define IDEMPOTENCY_KEY                                                                            \
	{                                                                                              \
		"Idempotency-Key", "header", "{\"type\":\"string\",\"minLength\":1,\"maxLength\":255}",    \
			"Repeats of the request with the same key have its outcome; kept for 24 hours.", false \
	}

const Route usherd_routes[] = {
	{
		.method = METHOD_POST,
		.path = "/v1/streams/{stream}/events",
		.query_path = "/v1/streams/events",
		.operation = "appendEvents",
		.summary = "Append one event, or several, all or none",
		.tag = "streams",
		.scope = "log:append",
		.rate_class = "general",
		.body = "AppendBody",
		.body_types = "application/json",
		.parameters = {STREAM,
					   {"Expected-Version", "header", "{\"type\":\"integer\",\"minimum\":-1}",
						"The stream's version: n, 0 when it must not exist, -1 when it must.",
						false},
					   IDEMPOTENCY_KEY},
		.replies = {{201, "application/json", "Appended",
					 "Committed: each event's id, version and position."},
					{412, "application/problem+json", "Problem",
					 "The stream has another version: actual_version."}},
		.handle = handle_append,
	},
	{
		.method = METHOD_GET,
		.path = "/v1/streams/{stream}/events",
		.query_path = "/v1/streams/events",
		.operation = "readStream",
		.summary = "A stream's events in order of version",
		.tag = "streams",
		.scope = "log:read",
		.rate_class = "general",
		.parameters = {STREAM,
					   {"from", "query", "{\"type\":\"integer\",\"minimum\":0}",
						"The first version.", false},
					   MAX,
					   {"direction", "query",
						"{\"type\":\"string\",\"enum\":[\"forward\",\"backward\"]}",
						"Backward begins with the last version.", false}},
		.replies = {{200, "application/json", "EventPage",
					 "The events; next is the version to go on from."}},
		.handle = handle_read_stream,
	},
	{
		.method = METHOD_POST,
		.path = "/v1/transactions",
		.operation = "appendTransaction",
		.summary = "Append to several streams, all or none",
		.tag = "streams",
		.scope = "log:append",
		.rate_class = "general",
		.body = "TransactionBody",
		.body_types = "application/json",
		.parameters = {IDEMPOTENCY_KEY},
		.replies = {{201, "application/json", "Appended",
					 "Committed: each event's id, version and position."},
					{412, "application/problem+json", "Problem",
					 "A stream has another version: actual_version."}},
		.handle = handle_transaction,
	},
	{
		.method = METHOD_GET,
		.path = "/v1/categories/{category}/events",
		.query_path = "/v1/categories/events",
		.operation = "readCategory",
		.summary = "The events of a category's streams in order of position",
		.tag = "log",
		.scope = "log:read",
		.rate_class = "general",
		.parameters = {{"category", "path",
						"{\"type\":\"string\",\"minLength\":1,\"maxLength\":255}",
						"What stands before the first \"-\" of the streams' names.", true},
					   {"after", "query", "{\"type\":\"integer\",\"minimum\":0}",
						"The position behind which to begin.", false},
					   MAX},
		.replies = {{200, "application/json", "EventPage",
					 "The events; next is the position to go on after."}},
		.handle = handle_read_category,
	},
	{
		.method = METHOD_GET,
		.path = "/v1/whoami",
		.operation = "whoami",
		.summary = "Tenant, user, roles and scopes of the one who asks",
		.tag = "meta",
		.anonymous = true,
		.rate_class = "general",
		.replies = {{200, "application/json", "Identity", "Who asks."}},
		.handle = handle_whoami,
	},
	{
		.method = METHOD_GET,
		.path = "/healthz",
		.operation = "health",
		.summary = "Does usherd answer?",
		.tag = "meta",
		.anonymous = true,
		.replies = {{200, "application/json", "Health", "It does."}},
		.handle = handle_health,
	},
};

const int usherd_nroutes = sizeof(usherd_routes) / sizeof(usherd_routes[0]);
