/* privs.h - limits and rights of the process family.  Master, before forks. */
#ifndef MASTER_PRIVS_H
#define MASTER_PRIVS_H

#include "conf/conf.h"

/* Raises the limit of descriptors as far as needed and allowed; warns where
 * that is not enough.  Nothing in here stops the start. */
void privs_apply(const struct conf *c);

#endif
