/*
 * extension/api/verify.c
 *	  usher.verify_sink, seen from the backend: a worker of its own reads the
 *	  peer, so that no client library is ever loaded here.
 */
#include "usher.h"

#include "relay/verify.h"

#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "storage/dsm.h"
#include "storage/shm_mq.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/tuplestore.h"

#define REQUEST_SIZE MAXALIGN(sizeof(UsherVerifyRequest))

enum
{
	FINDING_PROBLEM,
	FINDING_POSITION,
	FINDING_TOPIC,
	FINDING_DETAIL,
	FINDING_NATTS
};

static BackgroundWorkerHandle *
start_worker(dsm_segment *segment, const char *sink)
{
	BackgroundWorker worker = {
		.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION,
		.bgw_start_time = BgWorkerStart_RecoveryFinished,
		.bgw_restart_time = BGW_NEVER_RESTART,
		.bgw_main_arg = UInt32GetDatum(dsm_segment_handle(segment)),
		.bgw_notify_pid = MyProcPid,
	};
	BackgroundWorkerHandle *handle;

	strlcpy(worker.bgw_library_name, "pg_usher_relay", BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, "usher_verify_main", BGW_MAXLEN);
	snprintf(worker.bgw_name, BGW_MAXLEN, "pg_usher verify %s", sink);
	strlcpy(worker.bgw_type, "pg_usher verify", BGW_MAXLEN);
	if (!RegisterDynamicBackgroundWorker(&worker, &handle))
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_RESOURCES),
						errmsg("no worker slot is free to verify sink \"%s\"", sink),
						errhint("Raise max_worker_processes.")));
	return handle;
}

static void
put_finding(ReturnSetInfo *result, const UsherFinding *finding)
{
	const char *problem = finding->texts;
	const char *topic = problem + strlen(problem) + 1;
	const char *detail = topic + strlen(topic) + 1;
	Datum values[FINDING_NATTS] = {
		CStringGetTextDatum(problem),
		Int64GetDatum(finding->position),
		CStringGetTextDatum(topic),
		CStringGetTextDatum(detail),
	};
	bool nulls[FINDING_NATTS] = {
		[FINDING_POSITION] = finding->position == 0,
		[FINDING_TOPIC] = topic[0] == '\0',
	};

	if (finding->kind == 'X')
		ereport(ERROR, (errcode(finding->sqlstate), errmsg("%s", detail)));
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

static void
receive(shm_mq_handle *queue, ReturnSetInfo *result)
{
	for (;;)
	{
		Size size;
		void *data;
		UsherFinding *finding;

		if (shm_mq_receive(queue, &size, &data, false) != SHM_MQ_SUCCESS)
			ereport(ERROR, (errcode(ERRCODE_CONNECTION_FAILURE),
							errmsg("the worker that verifies the sink has ended"),
							errhint("The server's log says why.")));
		finding = palloc(size); /* the queue's copy may be unaligned */
		memcpy(finding, data, size);
		put_finding(result, finding);
		if (finding->kind == 'E')
			return;
		pfree(finding);
	}
}

/* (sink_id, name, from_position, to_position) */
PG_FUNCTION_INFO_V1(usher_verify_run);
Datum
usher_verify_run(PG_FUNCTION_ARGS)
{
	dsm_segment *segment = dsm_create(REQUEST_SIZE + USHER_VERIFY_QUEUE, 0);
	UsherVerifyRequest *request = dsm_segment_address(segment);
	BackgroundWorkerHandle *worker;
	shm_mq *queue;
	shm_mq_handle *receiver;

	InitMaterializedSRF(fcinfo, 0);
	request->dboid = MyDatabaseId;
	request->sink_id = PG_GETARG_INT32(0);
	request->from = PG_GETARG_INT64(2);
	request->to = PG_GETARG_INT64(3);
	queue = shm_mq_create((char *) request + REQUEST_SIZE, USHER_VERIFY_QUEUE);
	shm_mq_set_receiver(queue, MyProc);
	worker = start_worker(segment, text_to_cstring(PG_GETARG_TEXT_PP(1)));
	receiver = shm_mq_attach(queue, segment, worker);
	PG_TRY();
	{
		receive(receiver, (ReturnSetInfo *) fcinfo->resultinfo);
	}
	PG_CATCH();
	{
		TerminateBackgroundWorker(worker);
		PG_RE_THROW();
	}
	PG_END_TRY();
	dsm_detach(segment);
	return (Datum) 0;
}
