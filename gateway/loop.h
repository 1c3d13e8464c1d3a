/*
 * gateway/loop.h
 *	  How long the rounds of the loop take.
 */
#ifndef USHERD_LOOP_H
#define USHERD_LOOP_H

extern void loop_start(void);

#endif /* USHERD_LOOP_H */
