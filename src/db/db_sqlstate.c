/* db_sqlstate.c - see db_sqlstate.h. */
#include "db/db_sqlstate.h"

#include <string.h>

enum db_sqlclass db_sqlstate_class(const char *sqlstate)
{
	static const struct {
		const char *prefix;
		enum db_sqlclass class;
	} table[] = {{"40001", DB_SQL_RETRY}, {"40P01", DB_SQL_RETRY},
		{"23505", DB_SQL_UNIQUE}, {"23503", DB_SQL_FOREIGN_KEY},
		{"57014", DB_SQL_CANCELLED}, {"55P03", DB_SQL_LOCKED},
		{"57P", DB_SQL_CONNECTION}, {"08", DB_SQL_CONNECTION},
		{"53", DB_SQL_RESOURCES}, {"25006", DB_SQL_RESOURCES}};

	for (size_t i = 0; i < NELEM(table); i++) {
		if (strncmp(sqlstate, table[i].prefix,
			    strlen(table[i].prefix)) == 0)
			return table[i].class;
	}
	return DB_SQL_OTHER;
}
