/*
 * gateway/router.h
 *	  The one table of routes: what is served, who may ask, and what /openapi.json says of it.
 */
#ifndef USHERD_ROUTER_H
#define USHERD_ROUTER_H

#include "request.h"

typedef struct RouteParameter
{
	const char *name;
	const char *in; /* "path", "query", "header" */
	const char *schema; /* JSON Schema */
	const char *description;
	bool required;
} RouteParameter;

typedef struct RouteReply
{
	int status;
	const char *content_type; /* NULL: without a body */
	const char *schema; /* a name of components/schemas, or NULL */
	const char *description;
} RouteReply;

#define ROUTE_PARAMETERS_MAX 12
#define ROUTE_REPLIES_MAX    14

typedef struct Route
{
	Method method; /* HEAD goes with GET; OPTIONS is answered by the router */
	const char *path; /* "/v1/streams/{stream}/events" */
	const char *
		query_path; /* "/v1/streams/events": the same with ?stream=, for names that are not plain; or NULL */
	const char *operation; /* "appendEvents": operationId */
	const char *summary;
	const char *tag;
	const char *scope; /* what identity_allows() is asked; NULL: anybody */
	const char
		*ticket; /* the kind of ticket that ?ticket= takes the place of Authorization; or NULL */
	bool by_object; /* the handler asks, by request_allowed(), once it knows what it is about */
	bool by_role; /* with by_object: a role of the one who asks may stand for the scope */
	bool anonymous; /* without credentials, too */
	const char *rate_class; /* "general" ... */
	bool admin; /* on the separate listener only */
	const char *body; /* schema's name of the body, or NULL */
	const char
		*body_types; /* its content types, separated by blanks; "type=Schema" where it is another */
	bool any_body; /* the handler looks at other content types, too */
	RouteParameter parameters[ROUTE_PARAMETERS_MAX];
	RouteReply replies[ROUTE_REPLIES_MAX];
	void (*handle)(Request *request);
} Route;

extern const Route usherd_routes[];
extern const int usherd_nroutes;

/* The head is here: find the route, check who asks, how often, and whether he may; then connection_admitted(), or a reply. */
extern void router_admit(Request *request, bool admin_listener);
extern void router_handle(Request *request); /* the body, too: call its handler */
extern const char *openapi_json(size_t *len); /* openapi.c; made once */

/* May the one who asks do it to this object (absent: to all)? false: 401 or 403 was replied. */
extern bool request_allowed(Request *request, const char *what, Slice object);

#endif /* USHERD_ROUTER_H */
