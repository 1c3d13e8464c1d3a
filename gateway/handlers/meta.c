/*
 * gateway/handlers/meta.c
 *	  Routes about usherd and about who asks.
 */
#include <string.h>

#include "../embed.h"
#include "../router.h"
#include "../usherd.h"
#include "handlers.h"

void
handle_health(Request *request)
{
	static const char alive[] = "{\"status\":\"ok\",\"version\":\"" USHERD_VERSION "\"}";

	reply(request, 200, "application/json", alive, sizeof(alive) - 1);
}

static void
add_list(Text *json, const char *name, char **list, int n)
{
	text_printf(json, ",\"%s\":[", name);
	for (int i = 0; i < n; i++)
	{
		if (i > 0)
			text_char(json, ',');
		text_json(json, list[i], strlen(list[i]));
	}
	text_char(json, ']');
}

void
handle_whoami(Request *request)
{
	const Identity *who = request->identity;
	Text json = {0};

	text_puts(&json, "{\"tenant\":");
	text_json(&json, who->tenant, strlen(who->tenant));
	text_puts(&json, ",\"user\":");
	text_json(&json, who->user, strlen(who->user));
	text_puts(&json, ",\"actor_type\":");
	text_json(&json, who->actor_type, strlen(who->actor_type));
	add_list(&json, "roles", who->roles, who->nroles);
	add_list(&json, "scopes", who->scopes, who->nscopes);
	text_printf(&json, ",\"expires_at\":%lld}", (long long) who->expires_at);
	reply_json(request, 200, &json);
	text_free(&json);
}

void
handle_openapi(Request *request)
{
	size_t len;
	const char *json = openapi_json(&len);

	reply(request, 200, "application/json", json, len);
}

/* Nothing from elsewhere, and no script that stands in the page. */
#define PAGE_POLICY                                                                 \
	"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; " \
	"img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

static void
reply_file(Request *request, const Embedded *files, int n)
{
	Slice name = request->arguments[0].data ? request->arguments[0] : (Slice){"", 0};

	for (int i = 0; i < n; i++)
		if (slice_is(name, files[i].name))
		{
			reply_header(request, "Content-Security-Policy", PAGE_POLICY);
			reply_header(request, "Referrer-Policy", "no-referrer");
			reply(request, 200, files[i].content_type, files[i].data,
				  (size_t) (files[i].end - files[i].data));
			return;
		}
	reply_problem(request, 404, "not-found", NULL, "there is no such file");
}

void
handle_docs(Request *request)
{
	reply_file(request, embedded_docs, embedded_ndocs);
}

void
handle_live_page(Request *request)
{
	reply_file(request, embedded_live, embedded_nlive);
}
