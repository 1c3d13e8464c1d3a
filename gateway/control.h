/*
 * gateway/control.h
 *	  What the database tells usherd to do: revocations, and tenants' own rate limits.
 */
#ifndef USHERD_CONTROL_H
#define USHERD_CONTROL_H

#include <stdbool.h>

/* Before db_start(): from then on they are read when the database comes, and when they change. */
extern void control_start(void);
extern bool control_ready(void); /* all retained revocations are known */

#endif /* USHERD_CONTROL_H */
