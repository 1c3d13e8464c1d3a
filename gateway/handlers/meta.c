/*
 * gateway/handlers/meta.c
 *	  Routes about usherd and about who asks.
 */
#include <string.h>

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
