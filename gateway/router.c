/*
 * gateway/router.c
 *	  From the head of a request to its handler: the route, who asks, how often, whether he may.
 *
 * All of it is checked before anything of the body is read.  What depends on the
 * body (which streams a transaction appends to) is the handler's.  The table of
 * routes is routes.c.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "identity_wait.h"
#include "lib/cloudevent_in.h"
#include "lib/uri.h"
#include "listener.h"
#include "router.h"
#include "ticket.h"

static const struct
{
	const char *name;
	Method method;
} methods[] = {
	{"GET", METHOD_GET},         {"POST", METHOD_POST}, {"HEAD", METHOD_HEAD},
	{"OPTIONS", METHOD_OPTIONS}, {"PUT", METHOD_PUT},   {"PATCH", METHOD_PATCH},
	{"DELETE", METHOD_DELETE},
};

/* A method that we do not know stays 0: no route has it. */
static void
find_method(Request *request)
{
	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++)
		if (slice_is(request->method_name, methods[i].name))
			request->method = methods[i].method;
}

/* The target's path and query; false: it was refused. */
static bool
split_target(Request *request)
{
	const char *question = memchr(request->target.data, '?', request->target.len);
	Slice rest = {NULL, 0}, name, value;
	char *decoded;
	long len;

	request->path = request->target;
	if (question)
	{
		request->path.len = (size_t) (question - request->target.data);
		rest = (Slice){question + 1, request->target.len - request->path.len - 1};
	}
	request->query = arena_alloc(&request->arena, sizeof(Pair) * (rest.len / 2 + 2));
	while (rest.data && uri_query_next(&rest, &name, &value))
	{
		Pair *pair = &request->query[request->nquery];

		if (request->nquery == 64)
		{
			reply_problem(request, 400, "invalid-parameter", NULL,
						  "the query has more than 64 parameters");
			return false;
		}
		decoded = arena_alloc(&request->arena, name.len + value.len + 2);
		len = uri_decode(name, true, decoded);
		if (len >= 0)
		{
			pair->name = (Slice){decoded, (size_t) len};
			decoded += len;
			len = uri_decode(value.data ? value : (Slice){"", 0}, true, decoded);
			pair->value = (Slice){decoded, len < 0 ? 0 : (size_t) len};
		}
		if (len < 0)
		{
			reply_problem(request, 400, "invalid-parameter", NULL,
						  "the query is not percent-encoded UTF-8");
			return false;
		}
		request->nquery++;
	}
	return true;
}

/* A route's path, close to the others' in memory: most do not fit by their beginning. */
typedef struct Template
{
	Slice text; /* absent: there is none */
	size_t plain; /* bytes in front of its first name */
} Template;

typedef struct RouteTemplates
{
	Template path, query;
} RouteTemplates;

static Template
template_of(const char *text)
{
	if (text == NULL)
		return (Template){{NULL, 0}, 0};
	return (Template){{text, strlen(text)}, strcspn(text, "{")};
}

/* Made once. */
static const RouteTemplates *
templates(void)
{
	static RouteTemplates *made;

	if (made != NULL)
		return made;
	made = calloc((size_t) usherd_nroutes, sizeof(*made));
	if (made == NULL)
		abort();
	for (int i = 0; i < usherd_nroutes; i++)
		made[i] = (RouteTemplates){template_of(usherd_routes[i].path),
								   template_of(usherd_routes[i].query_path)};
	return made;
}

static inline bool
is_plain(const Template *template)
{
	return template->plain == template->text.len;
}

static inline bool
may_fit(const Template *template, Slice path)
{
	return template->text.data != NULL &&
		   (is_plain(template) ? path.len == template->plain : path.len > template->plain) &&
		   memcmp(path.data, template->text.data, template->plain) == 0;
}

/* Does the path fit, segment by segment? The arguments are the encoded ones. */
static bool
path_fits(const Template *template, Slice path, Slice *arguments)
{
	Slice pattern = template->text;
	Slice want, have;
	int n = 0;

	if (!may_fit(template, path))
		return false;
	if (is_plain(template))
		return true;
	for (;;)
	{
		bool more = uri_path_next(&pattern, &want);

		if (uri_path_next(&path, &have) != more)
			return false;
		if (!more)
			return true;
		if (want.len > 0 && want.data[0] == '{')
		{
			if (have.len == 0 || n == REQUEST_ARGUMENTS_MAX)
				return false;
			arguments[n++] = have;
		}
		else if (want.len != have.len || memcmp(want.data, have.data, want.len) != 0)
			return false;
	}
}

/*
 * The names in the path, decoded; a name that is not plain may be percent-encoded, or stand in the query
 * of the route's other path (?stream=, ?category=, ?name=).
 */
static bool
take_arguments(Request *request, const Slice *arguments)
{
	for (int i = 0; i < REQUEST_ARGUMENTS_MAX && arguments[i].data; i++)
	{
		char *decoded = arena_alloc(&request->arena, arguments[i].len + 1);
		long len = uri_decode(arguments[i], false, decoded);

		if (len < 0)
		{
			reply_problem(request, 400, "invalid-path", NULL,
						  "the path is not percent-encoded UTF-8");
			return false;
		}
		request->arguments[i] = (Slice){decoded, (size_t) len};
	}
	return true;
}

static bool
take_query_argument(Request *request)
{
	const RouteParameter *first = &request->route->parameters[0]; /* the path's comes first */

	request->arguments[0] = request_query(request, first->name);
	if (request->arguments[0].data != NULL && request->arguments[0].len > 0)
		return true;
	reply_problem(request, 400, "invalid-parameter", NULL, "the parameter \"%s\" is missing",
				  first->name);
	return false;
}

static void
reply_options(Request *request, unsigned allowed, int status)
{
	Text list = {0};

	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++)
		if (allowed & methods[i].method)
		{
			if (list.len > 0)
				text_puts(&list, ", ");
			text_puts(&list, methods[i].name);
		}
	reply_header(request, "Allow", list.data);
	if (status == 204)
	{
		if (config.cors_origins[0] && request_header(request, "origin").data)
			reply_header(request, "Access-Control-Allow-Methods", list.data);
		reply(request, 204, NULL, "", 0);
	}
	else
		reply_problem(request, 405, "method-not-allowed", NULL,
					  "this resource does not know the method");
	text_free(&list);
}

/* Finds the route; false: the request was answered. */
static bool
find_route(Request *request, bool admin)
{
	const RouteTemplates *all = templates();
	unsigned allowed = 0;
	bool by_query = false, written_out = false;
	Slice found[REQUEST_ARGUMENTS_MAX] = {{0}};
	Method wanted = request->method == METHOD_HEAD ? METHOD_GET : request->method;

	for (int i = 0; i < usherd_nroutes; i++)
	{
		const Route *route = &usherd_routes[i];
		Slice arguments[REQUEST_ARGUMENTS_MAX] = {{0}};
		bool other = path_fits(&all[i].query, request->path, arguments);

		if (!other && !path_fits(&all[i].path, request->path, arguments))
			continue;
		if (route->admin != admin)
			continue;
		/* A path that is written out wins over one with a name in that place. */
		if (!other && arguments[0].data == NULL && !written_out)
		{
			written_out = true;
			allowed = 0;
			request->route = NULL;
		}
		else if (!other && arguments[0].data != NULL && written_out)
			continue;
		allowed |= route->method | METHOD_OPTIONS | (route->method == METHOD_GET ? METHOD_HEAD : 0);
		if (route->method == wanted && (request->route == NULL || other))
		{
			request->route = route;
			by_query = other;
			memcpy(found, arguments, sizeof(found));
		}
	}
	if (allowed == 0)
	{
		reply_problem(request, 404, "not-found", NULL, "there is no such resource");
		return false;
	}
	if (request->method == METHOD_OPTIONS || request->route == NULL)
	{
		request->route = NULL;
		reply_options(request, allowed, request->method == METHOD_OPTIONS ? 204 : 405);
		return false;
	}
	return by_query ? take_query_argument(request) : take_arguments(request, found);
}

/* A body is of one of the route's types, in UTF-8, and not compressed; false: 415 was replied. */
static bool
body_acceptable(Request *request)
{
	const Route *route = request->route;
	Slice type = request_header(request, "content-type");
	Slice encoding = request_header(request, "content-encoding");
	const char *at = route->body_types;

	if (encoding.data && !slice_is_nocase(encoding, "identity"))
	{
		reply_problem(request, 415, "unsupported-media-type", NULL,
					  "the body must not be compressed");
		return false;
	}
	if (route->body == NULL || route->any_body)
		return true;
	while (at && *at)
	{
		size_t len = strcspn(at, " ");
		const char *name = arena_copy(&request->arena, at, strcspn(at, " ="));

		if (media_type_is(type, name) && media_type_is_utf8(type))
			return true;
		at += len;
		at += strspn(at, " ");
	}
	reply_problem(request, 415, "unsupported-media-type", NULL, "Content-Type must be one of: %s",
				  route->body_types);
	return false;
}

/*
 * Who asks
 */

static void
unauthorized(Request *request, const char *reason)
{
	reply_header(request, "WWW-Authenticate", reason ? "Bearer error=\"invalid_token\"" : "Bearer");
	reply_problem(request, 401, reason ? "invalid-token" : "unauthorized", NULL, "%s",
				  reason ? reason : "this needs a token");
}

bool
request_allowed(Request *request, const char *what, Slice object)
{
	if (identity_allows(request->identity, what, object))
		return true;
	if (request->identity->anonymous)
		unauthorized(request, NULL);
	else if (object.data == NULL)
		reply_problem(request, 403, "forbidden", NULL, "this needs the scope \"%s\"", what);
	else
		reply_problem(request, 403, "forbidden", NULL, "this needs the scope \"%s\" for \"%.*s\"",
					  what, (int) (object.len < 255 ? object.len : 255), object.data);
	return false;
}

static void
rate_limited(Request *request)
{
	char seconds[16];

	snprintf(seconds, sizeof(seconds), "%d",
			 request->rate.retry_after_seconds > 0 ? request->rate.retry_after_seconds : 1);
	reply_header(request, "Retry-After", seconds);
	reply_problem(request, 429, "rate-limited", NULL, "more requests than the limit allows");
}

/* who NULL: the credential was wrong, which counts for the address, so that nobody tries keys without end. */
static bool
within_rate(Request *request, const Identity *who)
{
	const char *class = request->route->rate_class;

	if (who == NULL && class == NULL)
		class = "general";
	if (class == NULL)
		return true;
	if (who != NULL && who->rate_class[0] != '\0' && strcmp(class, "general") == 0)
		class = who->rate_class;
	request->rate = limit_take(class, who ? who->tenant : "", who ? who->user : "",
							   who != NULL && who->is_key, &request->address, limit_clock());
	request->rate_taken = true;
	if (request->rate.allowed)
		return true;
	rate_limited(request);
	return false;
}

static void
identified(void *context, IdentityOutcome outcome, Identity *identity, const char *reason)
{
	Request *request = context;
	const Route *route = request->route;

	if (outcome == IDENTITY_OK || outcome == IDENTITY_NONE)
		request->identity = identity;
	if (outcome == IDENTITY_UNAVAILABLE)
		reply_unavailable(request, "unavailable", "credentials cannot be checked yet");
	else if (outcome == IDENTITY_LIMITED)
	{
		limit_may_try_credential(&request->address, limit_clock(), &request->rate);
		request->rate_taken = true;
		rate_limited(request);
	}
	else if (!within_rate(request, identity))
		return;
	else if (outcome == IDENTITY_INVALID)
		unauthorized(request, reason);
	else if (outcome == IDENTITY_NONE && !route->anonymous &&
			 !(route->scope && identity_allows_some(identity, route->scope)))
		unauthorized(request, NULL);
	else if (route->scope && !route->by_object &&
			 !request_allowed(request, route->scope, (Slice){NULL, 0}))
		return;
	else if (route->body != NULL && route->by_object &&
			 !identity_allows_some(identity, route->scope) &&
			 !(route->by_role && identity->nroles > 0))
		request_allowed(request, route->scope, (Slice){NULL, 0});
	else if (!body_acceptable(request))
		return;
	else if (request->connection == NULL)
		reply_unavailable(request, "gone",
						  "the client has gone"); /* while a key was looked up; nobody reads it */
	else
		connection_admitted(request->connection);
}

/* The header's, or the ticket's in the query. */
static IdentityOutcome
credential(Request *request, Identity **identity, const char **reason)
{
	Slice header = request_header(request, "authorization");
	Slice ticket = request->route->ticket ? request_query(request, "ticket") : (Slice){NULL, 0};

	if (ticket.data == NULL)
		return identity_ask(header, &request->address, identity, reason, identified, request);
	if (header.data == NULL)
		return ticket_identity(ticket, request->route->ticket, &request->address, reason,
							   identified, request);
	*reason = "there is a ticket, and an Authorization, too";
	return IDENTITY_INVALID;
}

void
router_handle(Request *request)
{
	request->route->handle(request);
}

void
router_admit(Request *request, bool admin_listener)
{
	Identity *identity = NULL;
	const char *reason = NULL;
	IdentityOutcome outcome;

	find_method(request);
	if (!split_target(request) || !find_route(request, admin_listener))
		return;
	if (!limit_address_allowed(&request->address))
	{
		reply_problem(request, 403, "address-refused", NULL, "this address is not served");
		return;
	}
	outcome = credential(request, &identity, &reason);
	if (outcome != IDENTITY_PENDING)
		identified(request, outcome, identity, reason);
}
