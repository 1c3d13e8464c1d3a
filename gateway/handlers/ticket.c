/*
 * gateway/handlers/ticket.c
 *	  POST /v1/tickets: a ticket in the place of the token, for clients that cannot send headers.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "../fanout.h"
#include "../lib/sha256.h"
#include "../ticket.h"
#include "append.h"
#include "handlers.h"

typedef struct Issue
{
	Request *request;
	char ticket[TICKET_BYTES + 1];
	unsigned char digest[SHA256_BYTES];
	char issued_at[24], expires_at[24];
} Issue;

static const DbStatement issue_statement = {
	.name = "issue_ticket",
	.sql = "SELECT usher.gateway_issue_ticket($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
	.nparams = 12,
};

static const char *
words(Request *request, char **list, int n)
{
	Text text = {0};
	const char *copy;

	for (int i = 0; i < n; i++)
	{
		if (i > 0)
			text_char(&text, ' ');
		text_puts(&text, list[i]);
	}
	copy = arena_copy(&request->arena, text.data ? text.data : "", text.len);
	text_free(&text);
	return copy;
}

static void
issued(void *context, DbOutcome outcome, PGresult *result)
{
	Issue *issue = context;
	Text json = {0};

	if (!result_usable(issue->request, outcome, result))
		return;
	text_printf(&json, "{\"ticket\":\"%s\",\"expires_at\":%s", issue->ticket,
				PQgetvalue(result, 0, 0));
	if (fanout_ready())
		text_printf(&json, ",\"position\":%" PRId64, fanout_position());
	text_char(&json, '}');
	reply_json(issue->request, 201, &json);
	text_free(&json);
}

static void
submit(Request *request, const char *kind)
{
	const Identity *who = request->identity;
	Issue *issue = arena_zalloc(&request->arena, sizeof(Issue));
	DbCall call = {.statement = &issue_statement, .done = issued, .context = issue};

	issue->request = request;
	ticket_make(issue->ticket);
	sha256(issue->ticket, TICKET_BYTES, issue->digest);
	snprintf(issue->issued_at, sizeof(issue->issued_at), "%lld", (long long) who->issued_at);
	snprintf(issue->expires_at, sizeof(issue->expires_at), "%lld", (long long) who->expires_at);
	call.tenant = who->tenant;
	call.values[0] = (const char *) issue->digest;
	call.lengths[0] = SHA256_BYTES;
	call.formats[0] = 1;
	call.values[1] = kind;
	call.values[2] = who->tenant;
	call.values[3] = who->user;
	call.values[4] = who->session;
	call.values[5] = who->actor_type;
	call.values[6] = who->is_key ? "true" : "false";
	call.values[7] = who->rate_class;
	call.values[8] = words(request, who->roles, who->nroles);
	call.values[9] = words(request, who->scopes, who->nscopes);
	call.values[10] = issue->issued_at;
	call.values[11] = issue->expires_at;
	db_submit(LANE_READ, &call);
}

/* {"for": "websocket"} or {"for": "sse"} */
void
handle_ticket(Request *request)
{
	static const char *const names[] = {"for"};
	JsonValue body, members[1], stranger;

	if (!body_json(request, &body))
		return;
	if (body.kind == JSON_OBJECT &&
		json_members(body, names, 1, members, &stranger) == JSON_MEMBERS_OK)
	{
		if (json_string_is(members[0], TICKET_WEBSOCKET))
		{
			submit(request, TICKET_WEBSOCKET);
			return;
		}
		if (json_string_is(members[0], TICKET_SSE))
		{
			submit(request, TICKET_SSE);
			return;
		}
	}
	body_refused(request, -1, "the body is {\"for\": \"websocket\"} or {\"for\": \"sse\"}");
}
