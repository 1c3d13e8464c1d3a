/*
 * test/integration/src/drive.h
 *	  What the files of sink_drive share.
 *
 *	  sink_drive.c    feeds a sink
 *	  drive_verify.c  reads it back
 */
#ifndef DRIVE_H
#define DRIVE_H

#include "messages.h"

extern void __attribute__((noreturn)) drive_die(const char *text, const char *detail);

/* As a JSON string with its quotes; to be freed. */
extern char *drive_json_string(const char *text);

/* range: FROM:TO.  Prints a JSON object; returns the exit status. */
extern int drive_verify(const UsherSinkOps *ops, const UsherSinkContext *context,
						const Messages *messages, const char *range, int64_t since_ms);

#endif /* DRIVE_H */
