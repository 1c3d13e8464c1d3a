/*
 * gateway/metrics.h
 *	  What usherd counts, and its text for Prometheus.
 */
#ifndef USHERD_METRICS_H
#define USHERD_METRICS_H

#include <stddef.h>
#include <stdint.h>

#include "lib/text.h"

/* A request has ended.  route: its number in the table of routes, -1 for none; status 499: the client has gone. */
extern void metrics_request(int route, int status, size_t bytes, double seconds);

/* A round of the loop. */
extern void metrics_round(double seconds);

/* All of usherd's own, in the text format of Prometheus. */
extern void metrics_own(Text *out);

/* A value of a label, without quotes; a help text. */
extern void metrics_label(Text *out, const char *data, size_t len);
extern void metrics_head(Text *out, const char *name, const char *type, const char *help);

#endif /* USHERD_METRICS_H */
