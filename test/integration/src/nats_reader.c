/*
 * test/integration/src/nats_reader.c
 *	  Reads a JetStream stream with libnats, as a consumer would; nothing of the sink is in it.
 *
 *	  nats_reader URL read STREAM          each message a line of JSON: seq, subject, headers, data
 *	  nats_reader URL request SUBJECT TEXT the answer to a question, such as those of $JS.API
 *	  nats_reader URL publish SUBJECT TEXT [NAME=VALUE ...]   into a stream, acknowledged, with headers
 *
 *	  cc -O2 test/integration/src/nats_reader.c -lnats
 */
#include <nats/nats.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE       500
#define TIMEOUT_MS 5000

static void __attribute__((noreturn)) die(const char *what)
{
	fprintf(stderr, "nats_reader: %s: %s\n", what, nats_GetLastError(NULL));
	exit(1);
}

static void
print_string(const char *text, size_t len)
{
	putchar('"');
	for (size_t i = 0; i < len; i++)
	{
		unsigned char ch = (unsigned char) text[i];

		if (ch == '"' || ch == '\\')
			printf("\\%c", ch);
		else if (ch < 0x20)
			printf("\\u%04x", ch);
		else
			putchar(ch);
	}
	putchar('"');
}

/* Returns what is behind it in the stream. */
static uint64_t
print_message(natsMsg *m)
{
	const char **names = NULL, *value;
	jsMsgMetaData *meta = NULL;
	uint64_t pending;
	int n = 0;

	if (natsMsg_GetMetaData(&meta, m) != NATS_OK)
		die("metadata");
	printf("{\"seq\": %llu, \"subject\": ", (unsigned long long) meta->Sequence.Stream);
	print_string(natsMsg_GetSubject(m), strlen(natsMsg_GetSubject(m)));
	printf(", \"headers\": {");
	if (natsMsgHeader_Keys(m, &names, &n) == NATS_OK)
		for (int i = 0; i < n; i++)
			if (natsMsgHeader_Get(m, names[i], &value) == NATS_OK)
			{
				printf(i > 0 ? ", " : "");
				print_string(names[i], strlen(names[i]));
				printf(": ");
				print_string(value, strlen(value));
			}
	free((void *) names);
	printf("}, \"data\": ");
	print_string(natsMsg_GetData(m), (size_t) natsMsg_GetDataLength(m));
	printf("}\n");
	pending = meta->NumPending;
	jsMsgMetaData_Destroy(meta);
	return pending;
}

static void
read_stream(jsCtx *js, const char *stream)
{
	natsSubscription *subscription = NULL;
	jsStreamInfo *info = NULL;
	jsSubOptions options;
	uint64_t pending;

	if (js_GetStreamInfo(&info, js, stream, NULL, NULL) != NATS_OK)
		die(stream);
	pending = info->State.Msgs;
	jsStreamInfo_Destroy(info);
	jsSubOptions_Init(&options);
	options.Stream = stream;
	options.Config.AckPolicy = js_AckNone;
	if (pending > 0 &&
		js_PullSubscribe(&subscription, js, ">", NULL, NULL, &options, NULL) != NATS_OK)
		die("subscribe");
	while (pending > 0)
	{
		natsMsgList page;

		if (natsSubscription_Fetch(&page, subscription, pending < PAGE ? (int) pending : PAGE,
								   TIMEOUT_MS, NULL) != NATS_OK)
			die("fetch");
		for (int i = 0; i < page.Count; i++)
			pending = print_message(page.Msgs[i]);
		natsMsgList_Destroy(&page);
	}
	if (subscription != NULL)
		natsSubscription_Unsubscribe(subscription);
	natsSubscription_Destroy(subscription);
}

static void
publish(jsCtx *js, char **argv)
{
	natsMsg *m = NULL;

	if (natsMsg_Create(&m, argv[0], NULL, argv[1], (int) strlen(argv[1])) != NATS_OK)
		die("message");
	for (char **header = argv + 2; *header != NULL; header++)
	{
		char *equals = strchr(*header, '=');

		if (equals == NULL)
			die("a header is not NAME=VALUE");
		*equals = '\0';
		natsMsgHeader_Set(m, *header, equals + 1);
	}
	if (js_PublishMsg(NULL, js, m, NULL, NULL) != NATS_OK)
		die(argv[0]);
	natsMsg_Destroy(m);
}

int
main(int argc, char **argv)
{
	natsConnection *connection = NULL;
	jsCtx *js = NULL;
	natsMsg *reply = NULL;

	if (argc < 4 || (strcmp(argv[2], "read") != 0 && argc < 5))
		die("usage: nats_reader URL read STREAM | request SUBJECT TEXT | publish SUBJECT TEXT");
	if (natsConnection_ConnectTo(&connection, argv[1]) != NATS_OK ||
		natsConnection_JetStream(&js, connection, NULL) != NATS_OK)
		die(argv[1]);
	if (strcmp(argv[2], "read") == 0)
		read_stream(js, argv[3]);
	else if (strcmp(argv[2], "publish") == 0)
		publish(js, argv + 3);
	else
	{
		if (natsConnection_RequestString(&reply, connection, argv[3], argv[4], TIMEOUT_MS) !=
			NATS_OK)
			die(argv[3]);
		printf("%.*s\n", natsMsg_GetDataLength(reply), natsMsg_GetData(reply));
	}
	natsMsg_Destroy(reply);
	jsCtx_Destroy(js);
	natsConnection_Destroy(connection);
	nats_Close();
	return 0;
}
