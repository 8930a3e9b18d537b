/*
 * ctl.h - the commands of gamectl, one file each.  argv[0] is the command's
 * name.  The return value is the exit status: 0 done, 1 failed, 2 usage.
 */
#ifndef CTL_CTL_H
#define CTL_CTL_H

#include "conf/conf.h"

int ctl_dsl(int argc, char **argv, const struct conf *conf);

#endif
