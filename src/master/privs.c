/*
 * privs.c - see privs.h.  gamed never changes its user: systemd or whoever
 * starts it does.  Runs in the master; children inherit the result.
 */
#include "master/privs.h"

#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/log.h"

/* Descriptors of a worker besides its clients', and of the master. */
#define OWN_DESCRIPTORS 256

static void raise_nofile(rlim_t need)
{
	struct rlimit lim;

	if (getrlimit(RLIMIT_NOFILE, &lim) < 0) {
		log_warn("cannot read the limit of descriptors");
		return;
	}
	if (lim.rlim_cur >= need)
		return;
	lim.rlim_cur = lim.rlim_max < need ? lim.rlim_max : need;
	if (setrlimit(RLIMIT_NOFILE, &lim) < 0)
		log_warn("cannot raise the limit of descriptors");
	else if (lim.rlim_cur < need)
		log_warnx("at most %llu descriptors are allowed, "
			  "http.max_connections needs %llu",
			(unsigned long long)lim.rlim_cur,
			(unsigned long long)need);
}

void privs_apply(const struct conf *c)
{
	bool serious =
		strcmp(c->env, "prod") == 0 || strcmp(c->env, "stage") == 0;

	raise_nofile((rlim_t)c->http_max_connections + OWN_DESCRIPTORS);
	if (!c->dumpable && prctl(PR_SET_DUMPABLE, 0L, 0L, 0L, 0L) < 0)
		log_warn("cannot forbid core dumps");
	if (serious && geteuid() == 0)
		log_warnx("running as root, an ordinary user suffices");
}
