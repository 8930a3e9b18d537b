/*
 * child.h - the table of children by slot: who runs, who is to leave, who
 * comes back and when.  One table a process, the master's.
 *
 *	FREE --start--> STARTING --byte--> READY
 *	STARTING, READY --stop--> LEAVING --death--> FREE
 *	(a death otherwise than asked for is a crash there, too)
 *	STARTING, READY --death--> WAITING --back-off over--> STARTING
 *	WAITING --stop--> FREE
 */
#ifndef MASTER_CHILD_H
#define MASTER_CHILD_H

#include <poll.h>

#include "master/spawn.h"

enum child_state {
	CHILD_FREE,
	CHILD_WAITING,
	CHILD_STARTING,
	CHILD_READY,
	CHILD_LEAVING
};

struct child {
	enum shm_role role;
	enum child_state state;
	unsigned slot, generation;
	pid_t pid;    /* 0: none */
	int ready_fd; /* -1: nothing more to come */
	const struct conf *conf;
	uint64_t started_ms; /* monotonic, as all here */
	uint64_t respawn_ms; /* WAITING: when */
	uint64_t kill_ms;    /* when SIGKILL follows, 0: never */
	uint64_t backoff_ms; /* before the respawn after the next */
	bool stuck;          /* the watchdog, or a deadline, ends it */
	int asked;           /* LEAVING: by this signal, 0: by other means */
};

struct child_death {
	enum shm_role role;
	unsigned generation;
	bool wanted; /* nobody had asked it to leave */
	int status;  /* of waitpid */
};

void child_init(const struct spawn_env *env);
/* The slot must be free. */
void child_start(enum shm_role role, unsigned slot, unsigned generation,
	const struct conf *conf, uint64_t now_ms);
/* The lowest free worker slot, 0: none. */
unsigned child_free_slot(void);

/*
 * Asks to leave with `sig` (0: it knows by other means), kills after
 * `patience_ms`.  child_stop_workers: generation 0 means all of them.
 */
void child_stop(unsigned slot, int sig, uint64_t patience_ms, uint64_t now_ms);
void child_stop_workers(
	unsigned generation, int sig, uint64_t patience_ms, uint64_t now_ms);

/* Takes one dead child out of the table; false: there is none. */
bool child_reap(struct child_death *d_r, uint64_t now_ms);
/* Respawns and kills what is due. */
void child_tick(uint64_t now_ms);
/* Looks for heartbeats older than limit_ms; call once a second. */
void child_watch(uint64_t limit_ms, uint64_t now_ms);
/* The master itself slept: what looks stale is not. */
void child_watch_restart(uint64_t now_ms);
/* When child_tick has something to do, UINT64_MAX: nothing planned. */
uint64_t child_next_ms(void);

/* Ready pipes for poll; child_polled takes what came. */
unsigned child_pollfds(struct pollfd fds[SHM_SLOTS_MAX]);
void child_polled(const struct pollfd *fds, unsigned cnt, uint64_t now_ms);

/* Workers of a generation (0: all) in that state. */
unsigned child_workers(unsigned generation, enum child_state state);
enum child_state child_state_of(unsigned slot);
/* Live processes, whatever they do. */
unsigned child_alive(void);
/* A worker, logger and stats are ready and gave a sign of life lately. */
bool child_healthy(uint64_t limit_ms, uint64_t now_ms);

#endif
