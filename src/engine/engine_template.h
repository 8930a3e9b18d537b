/*
 * engine_template.h - programs to start from, as GET .../custom/templates
 * lists them (dsl.md 19).  All static.
 */
#ifndef ENGINE_ENGINE_TEMPLATE_H
#define ENGINE_ENGINE_TEMPLATE_H

struct engine_template {
	const char *id;
	const char *name;
	const char *description;
	const char *type;    /* DSL_FULL or DSL_EXTEND */
	const char *parent;  /* NULL: none */
	const char *ast;     /* JSON, compact, with all node ids */
	const char *blockly; /* the same tree for the dashboard's editor */
};

/* Sorted by id; NULL past the end. */
const struct engine_template *engine_template_at(unsigned i);

#endif
