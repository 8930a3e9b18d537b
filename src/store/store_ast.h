/*
 * store_ast.h - SQL: the program of a row of strategydefinition.
 *
 * ast_text is canonical and keeps number kinds that jsonb loses (dsl.md 20);
 * the database sets it to NULL when somebody else writes "astJson"
 * (sql/0008_strategies.sql), and then that column is the program.
 */
#ifndef STORE_STORE_AST_H
#define STORE_STORE_AST_H

/* Text of the program; NULL: none. */
#define STORE_AST(d) \
	"coalesce(" d ".ast_text, nullif(" d ".\"astJson\", 'null')::text)"

/* Of the alias d. */
#define STORE_AST_D STORE_AST("d")

/* hash_version; NULL where only dsl_hash over STORE_AST_D can tell. */
#define STORE_HASH_D                                       \
	"case when d.ast_text is not null or " STORE_AST_D \
	" is null then encode(sha256(convert_to("          \
	"coalesce(d.ast_text, '{}'), 'UTF8')), 'hex') end"

#endif
