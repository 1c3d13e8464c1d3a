/*
 * gateway/usherd.h
 *	  What all files of usherd share: the loop, its name, chance, and what is counted.
 */
#ifndef USHERD_H
#define USHERD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define USHERD_VERSION  "0.1.0"

struct ev_loop;
extern struct ev_loop *usherd_loop;

/* n random hexadecimal digits and a zero byte; from a pool that is filled by OpenSSL. */
extern void usherd_random_hex(char *text, int n);
extern double usherd_random(void); /* 0 <= x < 1, for jitter */

/* SIGTERM has come: what is in flight is finished. */
extern bool usherd_draining(void);

/* usherd token, usherd keygen: other programs under the same name. */
extern int token_main(int argc, char **argv);

#endif /* USHERD_H */
