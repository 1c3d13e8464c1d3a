/*
 * bench/src/bulk.c
 *		Bulk loads from a client: append_many with binary text[] parameters, or COPY of the same rows.
 *
 * usage: bulk append|copy existing|new|uuid|log DATABASE JSON SECONDS|EVENTS BASE
 *
 * One batch is BATCH events and one transaction. `existing` spreads a batch over 100 of 100,000 streams that are
 * there; `new` gives every event a stream of its own, with names that count up; `uuid` the same with names in random
 * order; `log` loads EVENTS events as a log would have grown: 1,000 streams are alive at a time, each receives 10
 * events and is then never seen again. BASE separates the runs: it begins the names of new streams and the versions
 * that the COPY side has to bring itself.
 */
#include "bench.h"

#define BATCH           1000
#define STREAMS         100000
#define STREAMS_A_BATCH 100
#define LOG_STREAMS     1000
#define LOG_EVENTS      10
#define NAME_MAX_BYTES  64

enum kind
{
	KIND_EXISTING,
	KIND_NEW,
	KIND_UUID,
	KIND_LOG
};

typedef struct Load
{
	PGconn *conn;
	enum kind kind;
	const char *data;
	int64_t base; /* separates the runs */
	int64_t sent; /* events so far */
	uint64_t random;
	int64_t *versions; /* by existing stream, for the COPY side */
	char *buffer; /* one batch on its way to the server */
	char names[BATCH][NAME_MAX_BYTES];
	int64_t stream_version[BATCH];
} Load;

static const char *const kinds[] = {"existing", "new", "uuid", "log"};

/* Choose the streams of the next batch, and the versions that COPY has to write. */
static void
choose_streams(Load *load)
{
	uint64_t first = random_next(&load->random) % STREAMS;

	for (int i = 0; i < BATCH; i++)
	{
		int64_t event = load->sent + i;
		int64_t window = event / ((int64_t) LOG_STREAMS * LOG_EVENTS);

		load->stream_version[i] = 1;
		switch (load->kind)
		{
			case KIND_EXISTING:
			{
				/* 100 distinct streams, a prime apart, each ten times */
				uint64_t stream = (first + (uint64_t) (i % STREAMS_A_BATCH) * 7919) % STREAMS;

				snprintf(load->names[i], NAME_MAX_BYTES, "order-%lld", (long long) (stream + 1));
				load->stream_version[i] = load->base * 1000000000 + ++load->versions[stream];
				break;
			}
			case KIND_NEW:
				snprintf(load->names[i], NAME_MAX_BYTES, "invoice-%lld%09lld",
						 (long long) load->base, (long long) event);
				break;
			case KIND_UUID:
			{
				uint64_t high = random_next(&load->random);
				uint64_t low = random_next(&load->random);

				snprintf(load->names[i], NAME_MAX_BYTES, "invoice-%016llx%016llx",
						 (unsigned long long) high, (unsigned long long) low);
				break;
			}
			case KIND_LOG:
				snprintf(load->names[i], NAME_MAX_BYTES, "order-%lld",
						 (long long) (window * LOG_STREAMS + event % LOG_STREAMS + 1));
				load->stream_version[i] = event / LOG_STREAMS % LOG_EVENTS + 1;
				break;
		}
	}
}

static char *
put_int32(char *at, int32_t value)
{
	uint32_t network = __builtin_bswap32((uint32_t) value);

	memcpy(at, &network, 4);
	return at + 4;
}

static char *
put_text(char *at, const char *text)
{
	int length = (int) strlen(text);

	at = put_int32(at, length);
	memcpy(at, text, (size_t) length);
	return at + length;
}

/* The header of a one-dimensional text[] of BATCH elements in the binary format. */
static char *
put_array_header(char *at)
{
	at = put_int32(at, 1); /* dimensions */
	at = put_int32(at, 0); /* no nulls */
	at = put_int32(at, 25); /* text */
	at = put_int32(at, BATCH);
	return put_int32(at, 1); /* lower bound */
}

static void
send_append(Load *load)
{
	const char *values[3];
	int lengths[3];
	int formats[3] = {1, 1, 1};
	char *at = load->buffer;

	for (int array = 0; array < 3; array++)
	{
		values[array] = at;
		at = put_array_header(at);
		for (int i = 0; i < BATCH; i++)
			at = put_text(at, array == 0   ? load->names[i]
							  : array == 1 ? "order.placed"
										   : load->data);
		lengths[array] = (int) (at - values[array]);
	}
	expect(load->conn, PQexecPrepared(load->conn, "append", 3, values, lengths, formats, 1),
		   PGRES_TUPLES_OK);
}

static void
send_copy(Load *load)
{
	char *at = load->buffer;

	expect(load->conn,
		   PQexec(load->conn,
				  "COPY plain (tenant_id, version, stream, category, type, data) FROM STDIN"),
		   PGRES_COPY_IN);
	for (int i = 0; i < BATCH; i++)
		at += sprintf(at, "1\t%lld\t%s\torder\torder.placed\t%s\n",
					  (long long) load->stream_version[i], load->names[i], load->data);
	if (PQputCopyData(load->conn, load->buffer, (int) (at - load->buffer)) != 1 ||
		PQputCopyEnd(load->conn, NULL) != 1)
		die("%s", PQerrorMessage(load->conn));
	expect(load->conn, PQgetResult(load->conn), PGRES_COMMAND_OK);
	PQclear(PQgetResult(load->conn));
}

int
main(int argc, char **argv)
{
	Load *load = calloc(1, sizeof(Load));
	int append;
	double limit;
	int64_t start;

	if (argc != 7)
		die("usage: bulk append|copy existing|new|uuid|log DATABASE JSON SECONDS|EVENTS BASE");
	append = strcmp(argv[1], "append") == 0;
	while (strcmp(kinds[load->kind], argv[2]) != 0)
		if (++load->kind > KIND_LOG)
			die("unknown kind of load: %s", argv[2]);
	load->conn = open_connection(argv[3]);
	load->data = argv[4];
	limit = atof(argv[5]);
	load->base = atoll(argv[6]);
	load->random = 88172645463325252ULL ^ (uint64_t) load->base << 20 ^ (uint64_t) now_ns();
	load->versions = calloc(STREAMS, sizeof(int64_t));
	load->buffer = malloc((size_t) BATCH * (strlen(load->data) + NAME_MAX_BYTES + 64) + 64);
	if (append)
		prepare(load->conn, "append",
				"SELECT usher.append_many($1::text[], $2::text[], $3::text[])");

	start = now_ns();
	while (load->kind == KIND_LOG ? load->sent < (int64_t) limit
								  : (double) (now_ns() - start) < limit * 1e9)
	{
		choose_streams(load);
		if (append)
			send_append(load);
		else
			send_copy(load);
		load->sent += BATCH;
	}
	printf("events=%lld seconds=%.6f\n", (long long) load->sent, (double) (now_ns() - start) / 1e9);
	PQfinish(load->conn);
	return 0;
}
