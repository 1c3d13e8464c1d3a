/*
 * gateway/notify.h
 *	  What systemd is told (sd_notify's protocol), without its library.
 *
 * Does nothing where NOTIFY_SOCKET is not set.  Never blocks.
 */
#ifndef USHERD_NOTIFY_H
#define USHERD_NOTIFY_H

extern void notify_start(void); /* reads the environment, and takes the variables out of it */
extern void notify_ready(void);
extern void notify_reloading(void); /* notify_ready() says when it is done */
extern void notify_stopping(void);
extern void notify_status(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Seconds between two calls of notify_watchdog(): half of what systemd allows; 0: it does not watch. */
extern double notify_watchdog_seconds(void);
extern void notify_watchdog(void);

#endif /* USHERD_NOTIFY_H */
