/*
 * conf_table.h - the rows of conf_list.h as data, for the parsers of this
 * folder only.
 */
#ifndef CONF_CONF_TABLE_H
#define CONF_CONF_TABLE_H

#include "conf/conf.h"

enum conf_type { CONF_T_INT, CONF_T_NUM, CONF_T_BOOL, CONF_T_STR, CONF_T_LIST };

struct conf_key {
	const char *section, *key;
	const char *env; /* "" for none */
	const char *help;
	enum conf_type type;
	bool secret;
	bool reload;
	size_t offset;   /* of the field in struct conf */
	double min, max; /* CONF_T_INT, CONF_T_NUM */
	double num_def;  /* of every type but text */
	const char *str_def;
};

/* All rows, in the order of conf_list.h. */
const struct conf_key *conf_table(unsigned *cnt_r);
const struct conf_key *conf_find(struct str section, struct str key);
bool conf_has_section(struct str section);
/*
 * Checks the text of one value and stores it.  The error says what was
 * expected; the caller puts in front where the value stood.  `lax` takes the
 * spellings of environment variables: blanks around numbers, 7.0 for 7.
 */
int conf_store(struct conf *c, const struct conf_key *k, struct str text,
	bool lax, struct err *err_r) MUST_CHECK;
void conf_copy_field(
	struct conf *to, const struct conf *from, const struct conf_key *k);

#endif
