/*
 * extension/errors.h
 *	  The one table of SQLSTATEs that pg_usher raises (class US).
 *
 * Clients test the code, never the text.  docs/errors.md lists what each
 * code means to a user; a check compares the two.
 */
#ifndef USHER_ERRORS_H
#define USHER_ERRORS_H

#define USHER_SQLSTATE(d3, d4, d5) MAKE_SQLSTATE('U', 'S', (d3), (d4), (d5))

#define ERRCODE_USHER_WRONG_EXPECTED_VERSION USHER_SQLSTATE('0', '0', '1')
#define ERRCODE_USHER_STREAM_DELETED         USHER_SQLSTATE('0', '0', '2')
#define ERRCODE_USHER_UNKNOWN_SUBSCRIPTION   USHER_SQLSTATE('0', '0', '3')
#define ERRCODE_USHER_POSITION_GONE          USHER_SQLSTATE('0', '0', '4')
#define ERRCODE_USHER_EVENT_ID_CONFLICT      USHER_SQLSTATE('0', '0', '5')
#define ERRCODE_USHER_INVALID_NAME           USHER_SQLSTATE('0', '0', '6')
#define ERRCODE_USHER_INVALID_EVENT_DATA     USHER_SQLSTATE('0', '0', '7')
#define ERRCODE_USHER_EVENT_TOO_LARGE        USHER_SQLSTATE('0', '0', '8')
#define ERRCODE_USHER_TOO_MANY_EVENTS        USHER_SQLSTATE('0', '0', '9')
#define ERRCODE_USHER_UNKNOWN_TENANT         USHER_SQLSTATE('0', '1', '0')
#define ERRCODE_USHER_TENANT_DENIED          USHER_SQLSTATE('0', '1', '1')
#define ERRCODE_USHER_ISOLATION_LEVEL        USHER_SQLSTATE('0', '1', '2')
#define ERRCODE_USHER_APPEND_AFTER_FLUSH     USHER_SQLSTATE('0', '1', '3')
#define ERRCODE_USHER_PREPARE_REFUSED        USHER_SQLSTATE('0', '1', '4')
#define ERRCODE_USHER_NOT_PRELOADED          USHER_SQLSTATE('0', '1', '5')
#define ERRCODE_USHER_PARTITION_MISSING      USHER_SQLSTATE('0', '1', '6')
#define ERRCODE_USHER_UNKNOWN_PROJECTION     USHER_SQLSTATE('0', '1', '7')
#define ERRCODE_USHER_INVALID_ARGUMENT       USHER_SQLSTATE('0', '1', '8')
#define ERRCODE_USHER_TOO_MANY_DATABASES     USHER_SQLSTATE('0', '2', '0')
#define ERRCODE_USHER_CORRUPTED              USHER_SQLSTATE('0', '2', '1')
#define ERRCODE_USHER_UNKNOWN_SINK           USHER_SQLSTATE('0', '2', '2')
#define ERRCODE_USHER_UNKNOWN_ROUTE          USHER_SQLSTATE('0', '2', '3')
#define ERRCODE_USHER_SINK_BLOCKED           USHER_SQLSTATE('0', '2', '4')
#define ERRCODE_USHER_LEASE_LOST             USHER_SQLSTATE('0', '2', '6')

#endif /* USHER_ERRORS_H */
