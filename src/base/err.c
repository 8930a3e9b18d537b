/* err.c - see err.h. */
#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int err_set(struct err *err_r, enum err_code code, const char *fmt, ...)
{
	va_list ap;

	if (err_r == NULL)
		return -1;
	err_r->code = code;
	va_start(ap, fmt);
	vsnprintf(err_r->text, sizeof(err_r->text), fmt, ap);
	va_end(ap);
	return -1;
}

int err_set_errno(struct err *err_r, const char *fmt, ...)
{
	int saved = errno;
	size_t len;
	va_list ap;

	if (err_r == NULL)
		return -1;
	err_r->code = ERR_SYSTEM;
	va_start(ap, fmt);
	vsnprintf(err_r->text, sizeof(err_r->text), fmt, ap);
	va_end(ap);
	len = strlen(err_r->text);
	snprintf(err_r->text + len, sizeof(err_r->text) - len, ": %s",
		strerror(saved));
	errno = saved;
	return -1;
}
