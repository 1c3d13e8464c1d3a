/*
 * gateway/openapi.c
 *	  /openapi.json: made once, from the table of routes and the schemas.
 *
 * Routes of the administration are on another listener, and not described.
 */
#include <string.h>

#include "embed.h"
#include "router.h"
#include "usherd.h"

#define PROBLEM_CONTENT \
	"\"content\":{\"application/problem+json\":{\"schema\":{\"$ref\":\"#/components/schemas/Problem\"}}}"
#define RETRY_AFTER \
	"\"headers\":{\"Retry-After\":{\"description\":\"Seconds.\",\"schema\":{\"type\":\"integer\"}}},"

/* Which routes can give a reply that stands in no line of the table. */
typedef enum CommonOf
{
	OF_ALL,
	OF_GET,
	OF_BODY,
	OF_PATH_NAMES,
	OF_APPENDS,
	OF_WRITES, /* with a body, or an Idempotency-Key */
} CommonOf;

static const struct
{
	int status;
	CommonOf of;
	const char *description;
} common[] = {
	{304, OF_GET, "The same as what If-None-Match names."},
	{400, OF_ALL, "The request, a parameter or a value is malformed."},
	{401, OF_ALL, "The credentials are missing or not valid."},
	{403, OF_ALL, "The credentials, or this address, do not allow it."},
	{404, OF_PATH_NAMES, "There is nothing of this name."},
	{408, OF_BODY, "The body came too slowly."},
	{409, OF_APPENDS,
	 "It conflicts with what is there: the stream was deleted, the event's id or the idempotency key is in use, or a "
	 "rule of the database refuses it."},
	{413, OF_ALL, "The body, or an event, is too large, or there are too many events."},
	{415, OF_BODY, "The body is of a type that is not taken here."},
	{417, OF_ALL, "Expect has another value than 100-continue."},
	{422, OF_WRITES,
	 "The body has not the form that it must have (errors has the index of the event), a projection refuses it, or "
	 "the idempotency key belongs to another request."},
	{429, OF_ALL, "More requests than the limit allows, or more wrong credentials."},
	{431, OF_ALL, "The head of the request is too large."},
	{500, OF_ALL, "Something went wrong inside; the log of the server says what."},
	{503, OF_ALL,
	 "Not now: try again later. Of a write: nothing was written, unless the type is outcome-unknown."},
};

static bool
has_parameter(const Route *route, const char *name)
{
	for (int i = 0; i < ROUTE_PARAMETERS_MAX && route->parameters[i].name; i++)
		if (strcmp(route->parameters[i].name, name) == 0)
			return true;
	return false;
}

static bool
has_common(const Route *route, CommonOf of)
{
	switch (of)
	{
		case OF_ALL:
			return true;
		case OF_GET:
			return route->method == METHOD_GET;
		case OF_BODY:
			return route->body != NULL;
		case OF_PATH_NAMES:
			return strchr(route->path, '{') != NULL;
		case OF_APPENDS:
			return route->scope != NULL && strcmp(route->scope, "log:append") == 0;
		case OF_WRITES:
			return route->body != NULL || has_parameter(route, "Idempotency-Key");
	}
	return false;
}

static void
put_string(Text *json, const char *text)
{
	text_json(json, text, strlen(text));
}

static void
put_member(Text *json, const char *name, const char *text)
{
	text_char(json, ',');
	put_string(json, name);
	text_char(json, ':');
	put_string(json, text);
}

/*
 * Parameters and bodies
 */

/* by_query: the path's own parameter, the first one, stands in the query. */
static void
put_parameters(Text *json, const Route *route, bool by_query)
{
	text_puts(json, ",\"parameters\":[");
	for (int i = 0; i < ROUTE_PARAMETERS_MAX && route->parameters[i].name; i++)
	{
		const RouteParameter *p = &route->parameters[i];

		text_puts(json, i ? ",{\"name\":" : "{\"name\":");
		put_string(json, p->name);
		put_member(json, "in", by_query && i == 0 ? "query" : p->in);
		put_member(json, "description", p->description);
		text_printf(json, ",\"required\":%s,\"schema\":%s", p->required ? "true" : "false",
					p->schema);
		if (strcmp(p->in, "query") == 0 && strstr(p->schema, "\"array\""))
			text_puts(json, ",\"style\":\"form\",\"explode\":false");
		text_char(json, '}');
	}
	text_char(json, ']');
}

static void
put_body(Text *json, const Route *route)
{
	const char *at = route->body_types;
	bool first = true;

	if (route->body == NULL)
		return;
	text_puts(json, ",\"requestBody\":{\"required\":true,\"content\":{");
	while (*at)
	{
		size_t len = strcspn(at, " "), type = strcspn(at, " =");

		if (!first)
			text_char(json, ',');
		first = false;
		text_json(json, at, type);
		text_puts(json, ":{\"schema\":{\"$ref\":\"#/components/schemas/");
		if (type < len)
			text_add(json, at + type + 1, len - type - 1);
		else
			text_puts(json, route->body);
		text_puts(json, "\"}}");
		at += len;
		at += strspn(at, " ");
	}
	text_puts(json, "}}");
}

/*
 * Replies
 */

static void
put_content(Text *json, const RouteReply *reply)
{
	put_string(json, reply->content_type);
	text_puts(json, ":{");
	if (reply->schema)
		text_printf(json, "\"schema\":{\"$ref\":\"#/components/schemas/%s\"}", reply->schema);
	text_char(json, '}');
}

static void
put_reply(Text *json, const RouteReply *reply, const RouteReply *end)
{
	text_printf(json, "\"%d\":{\"description\":", reply->status);
	put_string(json, reply->description);
	if (reply->schema && strcmp(reply->schema, "Appended") == 0)
		text_puts(
			json,
			",\"headers\":{\"Usher-Position\":{\"description\":\"Position of the last event.\","
			"\"schema\":{\"$ref\":\"#/components/schemas/Position\"}},"
			"\"Idempotency-Replayed\":{\"description\":\"true: the outcome of an earlier request with this "
			"Idempotency-Key.\",\"schema\":{\"type\":\"string\"}}}");
	if (reply->content_type)
	{
		text_puts(json, ",\"content\":{");
		put_content(json, reply);
		for (const RouteReply *other = reply + 1; other < end && other->status == reply->status;
			 other++)
		{
			text_char(json, ',');
			put_content(json, other);
		}
		text_char(json, '}');
	}
	text_char(json, '}');
}

static void
put_replies(Text *json, const Route *route)
{
	const RouteReply *replies = route->replies;
	int n = 0;

	while (n < ROUTE_REPLIES_MAX && replies[n].status)
		n++;
	text_puts(json, ",\"responses\":{");
	for (int i = 0; i < n; i++)
	{
		if (i > 0 && replies[i].status == replies[i - 1].status)
			continue;
		if (i > 0)
			text_char(json, ',');
		put_reply(json, &replies[i], replies + n);
	}
	for (size_t k = 0; k < sizeof(common) / sizeof(common[0]); k++)
	{
		bool listed = false;

		for (int i = 0; i < n; i++)
			listed = listed || replies[i].status == common[k].status;
		if (!listed && has_common(route, common[k].of))
			text_printf(json, ",\"%d\":{\"$ref\":\"#/components/responses/Status%d\"}",
						common[k].status, common[k].status);
	}
	text_char(json, '}');
}

static void
put_common_replies(Text *json)
{
	text_puts(json, "\"responses\":{");
	for (size_t k = 0; k < sizeof(common) / sizeof(common[0]); k++)
	{
		text_printf(json, "%s\"Status%d\":{\"description\":", k ? "," : "", common[k].status);
		put_string(json, common[k].description);
		if (common[k].status != 304)
			text_printf(json, ",%s%s",
						common[k].status == 429 || common[k].status == 503 ? RETRY_AFTER : "",
						PROBLEM_CONTENT);
		text_char(json, '}');
	}
	text_char(json, '}');
}

/*
 * Operations and paths
 */

static void
put_security(Text *json, const Route *route)
{
	text_puts(json, ",\"security\":[");
	if (route->anonymous)
		text_puts(json, "{},");
	text_puts(json, "{\"token\":[");
	if (route->scope)
		put_string(json, route->scope);
	text_puts(json, "]},{\"key\":[");
	if (route->scope)
		put_string(json, route->scope);
	text_puts(json, "]}]");
}

static const char *
method_name(Method method)
{
	switch (method)
	{
		case METHOD_POST:
			return "post";
		case METHOD_PUT:
			return "put";
		case METHOD_PATCH:
			return "patch";
		case METHOD_DELETE:
			return "delete";
		default:
			return "get";
	}
}

static void
put_operation(Text *json, const Route *route, bool by_query)
{
	text_printf(json, "\"%s\":{\"operationId\":\"%s%s\"", method_name(route->method),
				route->operation, by_query ? "ByQuery" : "");
	put_member(json, "summary", route->summary);
	text_puts(json, ",\"tags\":[");
	put_string(json, route->tag);
	text_char(json, ']');
	put_parameters(json, route, by_query);
	put_body(json, route);
	put_replies(json, route);
	put_security(json, route);
	text_char(json, '}');
}

static const char *
path_of(int i, bool by_query)
{
	return by_query ? usherd_routes[i].query_path : usherd_routes[i].path;
}

/* All operations of the path of this route, if it is the first that has it. */
static void
put_path(Text *json, int i, bool by_query, bool *first)
{
	const char *path = path_of(i, by_query);
	bool begun = false;

	if (path == NULL || usherd_routes[i].admin)
		return;
	for (int k = 0; k < i; k++)
		if (path_of(k, by_query) && strcmp(path_of(k, by_query), path) == 0)
			return;
	if (!*first)
		text_char(json, ',');
	*first = false;
	put_string(json, path);
	text_puts(json, ":{");
	for (int k = i; k < usherd_nroutes; k++)
	{
		const char *other = path_of(k, by_query);

		if (other == NULL || strcmp(other, path) != 0 || usherd_routes[k].admin)
			continue;
		if (begun)
			text_char(json, ',');
		begun = true;
		put_operation(json, &usherd_routes[k], by_query);
	}
	text_char(json, '}');
}

static void
make(Text *json)
{
	bool first = true;

	text_puts(
		json,
		"{\"openapi\":\"3.1.0\",\"info\":{\"title\":\"pg_usher\",\"version\":\"" USHERD_VERSION
		"\",\"description\":\"An event log inside PostgreSQL, over HTTP. Every reply has Request-Id and traceparent; "
		"HEAD goes wherever GET does, OPTIONS everywhere. Within /v1 changes only add.\"},\"servers\":[{\"url\":\"/\"}],"
		"\"paths\":{");
	for (int i = 0; i < usherd_nroutes; i++)
	{
		put_path(json, i, false, &first);
		put_path(json, i, true, &first);
	}
	text_puts(json, "},\"components\":{\"securitySchemes\":{"
					"\"token\":{\"type\":\"http\",\"scheme\":\"bearer\",\"bearerFormat\":\"JWT\"},"
					"\"key\":{\"type\":\"apiKey\",\"in\":\"header\",\"name\":\"Authorization\","
					"\"description\":\"ApiKey usk_…, or Bearer usk_…\"}},");
	put_common_replies(json);
	text_puts(json, ",\"schemas\":");
	text_add(json, embedded_schemas.data, (size_t) (embedded_schemas.end - embedded_schemas.data));
	text_puts(json, "}}");
}

const char *
openapi_json(size_t *len)
{
	static Text json;

	if (json.len == 0)
		make(&json);
	*len = json.len;
	return json.data;
}
