/*
 * gateway/handlers/admin.c
 *	  /readyz and /metrics, on the administration's listener.
 *
 * Both ask the database, and answer also when it is not there.
 */
#include <stdlib.h>
#include <string.h>

#include "../control.h"
#include "../fanout.h"
#include "../lib/json_check.h"
#include "../metrics.h"
#include "../router.h"
#include "../signals.h"
#include "../tail.h"
#include "../usherd.h"
#include "handlers.h"

static const DbStatement metrics_statement = {
	.name = "metrics",
	.sql = "SELECT name, type, help, labels, value FROM usher.metrics()",
};

static const DbStatement status_statement = {
	.name = "status",
	.sql = "SELECT in_recovery, stable_position FROM usher.gateway_status()",
};

static void
add_labels(Text *out, const char *labels, size_t len)
{
	JsonValue object, name, value;
	JsonFault fault;
	JsonWalk walk;
	bool first = true;

	if (!json_check(labels, len, 4, &object, &fault))
		return;
	walk = json_walk(object);
	while (json_next(&walk, &name, &value))
	{
		char *text = malloc(name.text.len + value.text.len + 1);
		size_t n;

		if (text == NULL)
			abort();
		text_char(out, first ? '{' : ',');
		first = false;
		n = json_unescape(name, text);
		text_add(out, text, n);
		text_puts(out, "=\"");
		if (value.kind == JSON_STRING)
		{
			n = json_unescape(value, text);
			metrics_label(out, text, n);
		}
		else
			text_add(out, value.text.data, value.text.len);
		text_char(out, '"');
		free(text);
	}
	if (!first)
		text_char(out, '}');
}

/* PostgreSQL writes Infinity, Prometheus +Inf. */
static void
add_value(Text *out, const char *value)
{
	if (strcmp(value, "Infinity") == 0)
		text_puts(out, "+Inf");
	else if (strcmp(value, "-Infinity") == 0)
		text_puts(out, "-Inf");
	else
		text_puts(out, value);
}

/* Of a histogram's _bucket, _sum and _count the name that all three belong to. */
static size_t
family_len(const char *name, const char *type)
{
	static const char *const suffixes[] = {"_bucket", "_sum", "_count"};
	size_t len = strlen(name);

	for (size_t i = 0; strcmp(type, "histogram") == 0 && i < 3; i++)
	{
		size_t suffix = strlen(suffixes[i]);

		if (len > suffix && strcmp(name + len - suffix, suffixes[i]) == 0)
			return len - suffix;
	}
	return len;
}

static void
metrics_read(void *context, DbOutcome outcome, PGresult *result)
{
	Request *request = context;
	char family[200] = "";
	Text out = {0};

	metrics_own(&out);
	if (outcome == DB_DONE)
		for (int row = 0; row < PQntuples(result); row++)
		{
			const char *name = PQgetvalue(result, row, 0), *type = PQgetvalue(result, row, 1);
			size_t len = family_len(name, type);

			if (strlen(family) != len || strncmp(family, name, len) != 0)
			{
				memcpy(family, name, len < sizeof(family) ? len : sizeof(family) - 1);
				family[len < sizeof(family) ? len : sizeof(family) - 1] = '\0';
				metrics_head(&out, family, type, PQgetvalue(result, row, 2));
			}
			text_puts(&out, name);
			add_labels(&out, PQgetvalue(result, row, 3), (size_t) PQgetlength(result, row, 3));
			text_char(&out, ' ');
			add_value(&out, PQgetvalue(result, row, 4));
			text_char(&out, '\n');
		}
	metrics_head(&out, "usherd_database_metrics", "gauge",
				 "1 when the database's own metrics are here, too.");
	text_printf(&out, "usherd_database_metrics %d\n", outcome == DB_DONE);
	reply(request, 200, "text/plain; version=0.0.4; charset=utf-8", out.data, out.len);
	text_free(&out);
}

void
handle_metrics(Request *request)
{
	DbCall call = {.statement = &metrics_statement, .tenant = "", .done = metrics_read};

	call.context = request;
	db_submit(LANE_SLOW, &call);
}

static void
status_read(void *context, DbOutcome outcome, PGresult *result)
{
	Request *request = context;
	bool there = db_ready() && outcome == DB_DONE && PQntuples(result) == 1;
	Text json = {0};
	long long stable;

	if (!there)
		reply_unavailable(request, "not-ready", "the database cannot be reached");
	else if (!control_ready())
		reply_unavailable(request, "not-ready", "the revocations have not been read yet");
	else if (!tail_follows() || !fanout_ready() || !signals_heard())
		reply_unavailable(request, "not-ready", "the log cannot be followed");
	else if (usherd_draining())
		reply_unavailable(request, "not-ready", "usherd is about to end");
	else
	{
		stable = strtoll(PQgetvalue(result, 0, 1), NULL, 10);
		text_printf(&json, "{\"status\":\"ready\",\"standby\":%s,\"stable_position\":%lld",
					PQgetvalue(result, 0, 0)[0] == 't' ? "true" : "false", stable);
		/* How far the readers of the log's end are behind; without any, nothing is read. */
		if (tail_position() >= 0)
			text_printf(&json, ",\"lag\":%lld",
						stable > tail_position() ? stable - (long long) tail_position() : 0LL);
		text_char(&json, '}');
		reply_json(request, 200, &json);
		text_free(&json);
	}
}

/* Can usherd serve: is there a database that understands us and answers, and are the revocations known? */
void
handle_ready(Request *request)
{
	DbCall call = {.statement = &status_statement, .tenant = "", .done = status_read};

	call.context = request;
	db_submit(LANE_READ, &call);
}
