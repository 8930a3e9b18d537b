/* lag.c - see lag.h.  One per worker process. */
#include "worker/lag.h"

#include <event2/event.h>

#include "base/clock.h"
#include "base/log.h"
#include "shm/shm.h"

static struct {
	struct event *timer;
	uint64_t due_ns; /* monotonic */
} self;

static void arm(void)
{
	static const struct timeval each = {0, LAG_EACH_MS * 1000};

	self.due_ns = clock_mono_ns() + LAG_EACH_MS * 1000000ULL;
	if (event_add(self.timer, &each) < 0)
		fatal("cannot set the timer of the lag");
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	uint64_t now_ns = clock_mono_ns();
	uint64_t lag_ns = now_ns > self.due_ns ? now_ns - self.due_ns : 0;

	(void)fd;
	(void)what;
	(void)arg;
	metric_time(T_LOOP_LAG, lag_ns);
	/* a moment's, not one that lasts into the next interval */
	metric_level(L_LOOP_LAG_US, lag_ns / 1000);
	metric_level(L_LOOP_LAG_US, 0);
	arm();
}

void lag_watch(struct event_base *base)
{
	self.timer = event_new(base, -1, 0, on_timer, NULL);
	if (self.timer == NULL)
		fatal("cannot make the timer of the lag");
	arm();
}
