/*
 * test/chaos/src/nats_read.c
 *	  Prints all messages of a JetStream stream, oldest first: a line each of
 *	  sequence, subject, name=value for each header, and the body, with tabs between.
 *
 * Usage: nats_read URL STREAM SUBJECTS.  Only libnats: what the relay wrote is read by a
 * client that is not ours.
 */
#include <nats/nats.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#define FETCH      500
#define TIMEOUT_MS 5000

static void
check(natsStatus status, const char *what)
{
	if (status == NATS_OK)
		return;
	fprintf(stderr, "%s: %s %s\n", what, natsStatus_GetText(status), nats_GetLastError(NULL));
	exit(1);
}

static void
print(natsMsg *msg, uint64_t sequence)
{
	const char **names = NULL, *value;
	int count = 0;

	printf("%llu\t%s", (unsigned long long) sequence, natsMsg_GetSubject(msg));
	(void) natsMsgHeader_Keys(msg, &names, &count);
	for (int i = 0; i < count; i++)
		if (natsMsgHeader_Get(msg, names[i], &value) == NATS_OK)
			printf("\t%s=%s", names[i], value);
	free((void *) names);
	printf("\t%.*s\n", natsMsg_GetDataLength(msg), natsMsg_GetData(msg));
}

static void
read_all(jsCtx *js, const char *stream, const char *subjects, uint64_t last)
{
	jsSubOptions options;
	natsSubscription *subscription;
	natsMsgList list;
	uint64_t sequence = 0;

	check(jsSubOptions_Init(&options), "options");
	options.Stream = stream;
	options.Config.AckPolicy = js_AckNone;
	check(js_PullSubscribe(&subscription, js, subjects, NULL, NULL, &options, NULL), "subscribe");
	while (sequence < last)
	{
		check(natsSubscription_Fetch(&list, subscription, FETCH, TIMEOUT_MS, NULL), "fetch");
		for (int i = 0; i < list.Count; i++)
		{
			jsMsgMetaData *meta;

			check(natsMsg_GetMetaData(&meta, list.Msgs[i]), "metadata");
			sequence = meta->Sequence.Stream;
			jsMsgMetaData_Destroy(meta);
			print(list.Msgs[i], sequence);
		}
		natsMsgList_Destroy(&list);
	}
	natsSubscription_Destroy(subscription);
}

int
main(int argc, char **argv)
{
	natsConnection *connection;
	jsCtx *js;
	jsStreamInfo *info;
	uint64_t last;

	if (argc != 4)
		return 2;
	check(natsConnection_ConnectTo(&connection, argv[1]), "connect");
	check(natsConnection_JetStream(&js, connection, NULL), "JetStream");
	check(js_GetStreamInfo(&info, js, argv[2], NULL, NULL), "stream");
	last = info->State.Msgs > 0 ? info->State.LastSeq : 0;
	jsStreamInfo_Destroy(info);
	read_all(js, argv[2], argv[3], last);
	jsCtx_Destroy(js);
	natsConnection_Destroy(connection);
	nats_Close();
	return 0;
}
