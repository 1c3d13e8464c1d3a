/*
 * bgworkers/sinks/sink.c
 *	  What all sinks need: options, errors, rejected messages.
 */
#include "sinks/sink.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

const char *
usher_option(const UsherSinkContext *context, const char *section, const char *name,
			 const char *otherwise)
{
	for (int i = 0; i < context->noptions; i++)
		if (strcmp(context->options[i].name, name) == 0 &&
			strcmp(context->options[i].section, section) == 0)
			return context->options[i].value;
	return otherwise;
}

int64_t
usher_option_int(const UsherSinkContext *context, const char *section, const char *name,
				 int64_t otherwise)
{
	const char *value = usher_option(context, section, name, NULL);
	char *end;
	long long number;

	if (value == NULL)
		return otherwise;
	number = strtoll(value, &end, 10);
	return end == value || *end != '\0' ? otherwise : number;
}

bool
usher_option_bool(const UsherSinkContext *context, const char *section, const char *name,
				  bool otherwise)
{
	const char *value = usher_option(context, section, name, NULL);

	return value == NULL ? otherwise : strcmp(value, "true") == 0;
}

UsherSinkResult
usher_sink_error(UsherSink *sink, UsherSinkResult result, const char *code, const char *format, ...)
{
	va_list args;

	snprintf(sink->error_code, sizeof(sink->error_code), "%s", code);
	va_start(args, format);
	vsnprintf(sink->error_text, sizeof(sink->error_text), format, args);
	va_end(args);
	return result;
}

/* Texts that cannot be copied for want of memory are left out. */
void
usher_message_rejected(UsherMessage *message, int partition, const char *code, const char *text)
{
	if (message->state != MESSAGE_PENDING)
		return;
	message->state = MESSAGE_REJECTED;
	message->partition = partition;
	message->error_code = strdup(code);
	message->error_text = strdup(text);
	message->batch->pending--;
	message->batch->rejected++;
}
