/*
 * bench/src/nats_receiver.c
 *		Receives a subject of a JetStream stream with an ordered consumer of libnats (receiver.h).
 *
 *		cc -O2 -std=gnu11 -I bench/src bench/src/nats_receiver.c -lnats
 */
#include "receiver.h"

#include <nats/nats.h>

int
main(int argc, char **argv)
{
	Receiver r;
	natsConnection *connection = NULL;
	natsSubscription *subscription = NULL;
	jsCtx *js = NULL;
	jsSubOptions options;
	char url[300];

	receiver_begin(&r, argc, argv);
	snprintf(url, sizeof(url), "nats://%.250s", r.address);
	if (natsConnection_ConnectTo(&connection, url) != NATS_OK ||
		natsConnection_JetStream(&js, connection, NULL) != NATS_OK)
		die(url, nats_GetLastError(NULL));
	jsSubOptions_Init(&options);
	options.Ordered = true;
	if (js_SubscribeSync(&subscription, js, r.topic, NULL, &options, NULL) != NATS_OK)
		die(r.topic, nats_GetLastError(NULL));
	receiver_ready();
	while (r.received < r.count)
	{
		natsMsg *m = NULL;

		if (natsSubscription_NextMsg(&m, subscription, SILENCE_MS) != NATS_OK)
			die(r.topic, nats_GetLastError(NULL));
		receiver_take(&r, natsMsg_GetData(m), (size_t) natsMsg_GetDataLength(m));
		natsMsg_Destroy(m);
	}
	receiver_print(&r);
	natsSubscription_Destroy(subscription);
	jsCtx_Destroy(js);
	natsConnection_Destroy(connection);
	return 0;
}
