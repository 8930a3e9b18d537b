/*
 * run_rec.c - see run_rec.h.  Encoded by workers, decoded by the logger; the
 * decoder treats its input as hostile.
 */
#include "ipc/run_rec.h"

#include "ipc/rec_io.h"

#define VERSION 1

#define WORD_MAX    255   /* ids and names that the API bounds already */
#define NODE_ID_MAX 256   /* dsl.md 21, node_id_header */
#define MESSAGE_MAX 2048  /* error text */
#define VALUE_DEPTH 128   /* nesting; a deeper value is null */
#define DATA_MAX    98304 /* event data; JSON cannot be cut, so all or none */
#define FIELDS_MAX  1024  /* distinct fields; a program has fewer nodes */

/* How hard a row is clipped; the first that fits EV_ROW_MAX is taken. */
static const struct clip {
	size_t text_bytes;  /* one text in a trace value */
	size_t value_bytes; /* one whole trace value */
	size_t field_bytes; /* one field value */
	uint32_t ents;      /* trace entries */
	bool data;          /* event data is kept */
} clips[] = {
	{1024, 8192, 65536, UINT32_MAX, true},
	{128, 256, 8192, UINT32_MAX, true},
	{128, 256, 1024, UINT32_MAX, false},
	/* at most 200 × (256 + 64 + 40) + 64 × (255 + 64) bytes */
	{32, 64, 64, 200, false},
};

struct enc {
	struct buf *out;
	const struct clip *clip;
	size_t text_bytes; /* for the value being written; 0: whole */
	size_t stop;       /* out->len past which writing on is useless */
	uint32_t clipped;
};

static void put_value(struct enc *e, const struct jv *v, unsigned depth);

static void put_value_text(struct enc *e, struct str s)
{
	size_t max = e->text_bytes;

	if (max != 0 && s.len > max)
		e->clipped++;
	put_text(e->out, s, max != 0 ? max : s.len);
}

static void put_members(struct enc *e, const struct jv *v, unsigned depth)
{
	for (uint32_t i = 0; i < v->n && e->out->len <= e->stop; i++) {
		put_text(e->out, v->u.obj[i].key, WORD_MAX);
		put_value(e, &v->u.obj[i].val, depth + 1);
	}
}

static void put_value(struct enc *e, const struct jv *v, unsigned depth)
{
	if (v == NULL || depth > VALUE_DEPTH) {
		put_u8(e->out, JV_NULL);
		return;
	}
	put_u8(e->out, (uint8_t)v->type);
	switch (v->type) {
	case JV_NULL:
		break;
	case JV_BOOL:
		put_u8(e->out, v->u.b);
		break;
	case JV_INT:
		put_u64(e->out, (uint64_t)v->u.i);
		break;
	case JV_FLOAT:
		put_f64(e->out, v->u.d);
		break;
	case JV_STR:
		put_value_text(e, v->u.s);
		break;
	case JV_ARR:
		put_u32(e->out, v->n);
		for (uint32_t i = 0; i < v->n && e->out->len <= e->stop; i++)
			put_value(e, &v->u.arr[i], depth + 1);
		break;
	case JV_OBJ:
		put_u32(e->out, v->n);
		put_members(e, v, depth);
		break;
	}
}

/* A value of at most max bytes; one that is larger becomes null. */
static void put_bounded(
	struct enc *e, const struct jv *v, size_t text_bytes, size_t max)
{
	size_t start = e->out->len;

	e->text_bytes = text_bytes;
	e->stop = start + max;
	put_value(e, v, 0);
	if (e->out->len - start <= max)
		return;
	e->out->len = start;
	e->clipped++;
	put_u8(e->out, JV_NULL);
}

static void put_head(struct buf *b, const struct run_rec *r)
{
	put_u8(b, VERSION);
	buf_add(b, r->id.b, sizeof(r->id.b));
	put_u64(b, (uint64_t)r->at_us);
	put_u32(b, (uint32_t)r->strategy_version);
	put_u64(b, r->duration_ns);
	put_u32(b, r->nodes);
	put_u8(b, (uint8_t)(r->has_points | r->sampled << 1));
	put_f64(b, r->points);
	put_f64(b, r->weight);
	put_text(b, r->strategy_id, WORD_MAX);
	put_text(b, r->strategy_type, WORD_MAX);
	put_text(b, r->realm, WORD_MAX);
	put_text(b, r->game, WORD_MAX);
	put_text(b, r->task, WORD_MAX);
	put_text(b, r->user, WORD_MAX);
	put_text(b, r->status, WORD_MAX);
	put_text(b, r->error_code, WORD_MAX);
	put_text(b, r->case_name, WORD_MAX);
	put_text(b, r->reason, WORD_MAX);
	put_text(b, r->correlation_id, WORD_MAX);
	put_text(b, r->ast_sha256, WORD_MAX);
	put_text(b, r->parent_strategy, WORD_MAX);
	put_text(b, r->error_message, MESSAGE_MAX);
	put_text(b, r->error_node, NODE_ID_MAX);
}

static void put_fields(struct enc *e, const struct run_rec *r)
{
	unsigned n = r->fields_cnt < FIELDS_MAX ? r->fields_cnt : FIELDS_MAX;

	if (e->clip->ents != UINT32_MAX && n > 64)
		n = 64;
	put_u32(e->out, n);
	for (unsigned i = 0; i < n; i++) {
		put_text(e->out, r->fields[i].path, WORD_MAX);
		put_bounded(e, r->fields[i].value, 0, e->clip->field_bytes);
	}
}

static void put_ent(struct enc *e, const struct run_ent *t)
{
	put_text(e->out, t->node_id, NODE_ID_MAX);
	put_text(e->out, str_from(t->type), 64);
	put_text(e->out, str_from(t->branch), 64);
	put_bounded(e, t->value, e->clip->text_bytes, e->clip->value_bytes);
}

/* Head and tail when there are more entries than the clip allows. */
static void put_ents(struct enc *e, const struct run_rec *r, size_t row_end)
{
	uint32_t n = r->ents_cnt, skip = 0, half;

	if (n > e->clip->ents) {
		skip = n - e->clip->ents;
		n = e->clip->ents;
	}
	half = skip != 0 ? n / 2 : n;
	put_u32(e->out, r->ents_cut + skip);
	put_u32(e->out, n);
	for (uint32_t i = 0; i < n && e->out->len <= row_end; i++)
		put_ent(e, &r->ents[i < half ? i : i + skip]);
}

static void encode_with(
	struct buf *out, const struct run_rec *r, const struct clip *clip)
{
	struct enc e = {.out = out, .clip = clip};
	size_t row_end = out->len + EV_ROW_MAX;
	bool keep_data = clip->data && r->data_json.len <= DATA_MAX;

	put_head(out, r);
	put_u8(out, !keep_data && r->data_json.p != NULL);
	put_text(out, keep_data ? r->data_json : (struct str){NULL, 0},
		DATA_MAX);
	put_fields(&e, r);
	put_ents(&e, r, row_end);
	put_u32(out, e.clipped);
}

void run_rec_encode(struct buf *out, const struct run_rec *rec)
{
	size_t start = out->len;

	for (size_t i = 0; i < NELEM(clips); i++) {
		out->len = start;
		encode_with(out, rec, &clips[i]);
		if (out->len - start <= EV_ROW_MAX)
			return;
	}
}

struct dec {
	struct rec_in in;
	struct arena *a;
};

static void get_value(struct dec *d, struct jv *v_r, unsigned depth);

/* A count of things that take at least `least` bytes each. */
static uint32_t get_count(struct dec *d, size_t least)
{
	uint32_t n = get_u32(&d->in);

	if (n > d->in.rest.len / least) {
		d->in.bad = true;
		return 0;
	}
	return n;
}

static void *dec_array(struct dec *d, size_t n, size_t size)
{
	void *p = arena_calloc(d->a, n ? n : 1, size);

	if (p == NULL)
		d->in.bad = true;
	return p;
}

static void get_array(struct dec *d, struct jv *v, unsigned depth)
{
	uint32_t n = get_count(d, 1);

	v->u.arr = dec_array(d, n, sizeof(*v->u.arr));
	for (uint32_t i = 0; i < n && !d->in.bad; i++)
		get_value(d, &v->u.arr[i], depth + 1);
	v->n = n;
}

static void get_object(struct dec *d, struct jv *v, unsigned depth)
{
	uint32_t n = get_count(d, 5);

	v->u.obj = dec_array(d, n, sizeof(*v->u.obj));
	for (uint32_t i = 0; i < n && !d->in.bad; i++) {
		v->u.obj[i].key = get_text(&d->in);
		get_value(d, &v->u.obj[i].val, depth + 1);
	}
	v->n = n;
}

static void get_value(struct dec *d, struct jv *v_r, unsigned depth)
{
	uint8_t type = get_u8(&d->in);

	*v_r = jv_null();
	if (type > JV_OBJ || depth > VALUE_DEPTH + 1)
		d->in.bad = true;
	if (d->in.bad)
		return;
	v_r->type = type;
	switch (v_r->type) {
	case JV_NULL:
		break;
	case JV_BOOL:
		v_r->u.b = get_u8(&d->in) != 0;
		break;
	case JV_INT:
		v_r->u.i = (int64_t)get_u64(&d->in);
		break;
	case JV_FLOAT:
		v_r->u.d = get_f64(&d->in);
		break;
	case JV_STR:
		v_r->u.s = get_text(&d->in);
		break;
	case JV_ARR:
		get_array(d, v_r, depth);
		break;
	case JV_OBJ:
		get_object(d, v_r, depth);
		break;
	}
}

static const struct jv *get_new_value(struct dec *d)
{
	struct jv *v = dec_array(d, 1, sizeof(*v));

	if (v != NULL)
		get_value(d, v, 0);
	return v;
}

/* NUL-terminated copy; NULL when the text is absent. */
static const char *get_cstr(struct dec *d)
{
	struct str s = get_text(&d->in);
	char *p;

	if (s.p == NULL)
		return NULL;
	p = arena_strndup(d->a, s.p, s.len);
	if (p == NULL)
		d->in.bad = true;
	return p;
}

static void get_head(struct rec_in *in, struct run_rec *r)
{
	uint8_t flags;

	get_bytes(in, r->id.b, sizeof(r->id.b));
	r->at_us = (int64_t)get_u64(in);
	r->strategy_version = (int32_t)get_u32(in);
	r->duration_ns = get_u64(in);
	r->nodes = get_u32(in);
	flags = get_u8(in);
	r->has_points = flags & 1;
	r->sampled = flags & 2;
	r->points = get_f64(in);
	r->weight = get_f64(in);
	r->strategy_id = get_text(in);
	r->strategy_type = get_text(in);
	r->realm = get_text(in);
	r->game = get_text(in);
	r->task = get_text(in);
	r->user = get_text(in);
	r->status = get_text(in);
	r->error_code = get_text(in);
	r->case_name = get_text(in);
	r->reason = get_text(in);
	r->correlation_id = get_text(in);
	r->ast_sha256 = get_text(in);
	r->parent_strategy = get_text(in);
	r->error_message = get_text(in);
	r->error_node = get_text(in);
}

static void get_fields(struct dec *d, struct run_rec *r)
{
	uint32_t n = get_count(d, 5);
	struct run_field *f = dec_array(d, n, sizeof(*f));

	for (uint32_t i = 0; i < n && !d->in.bad; i++) {
		f[i].path = get_text(&d->in);
		f[i].value = get_new_value(d);
	}
	r->fields = f;
	r->fields_cnt = n;
}

static void get_ents(struct dec *d, struct run_rec *r)
{
	uint32_t n;
	struct run_ent *t;

	r->ents_cut = get_u32(&d->in);
	n = get_count(d, 13);
	t = dec_array(d, n, sizeof(*t));
	for (uint32_t i = 0; i < n && !d->in.bad; i++) {
		t[i].node_id = get_text(&d->in);
		t[i].type = get_cstr(d);
		t[i].branch = get_cstr(d);
		t[i].value = get_new_value(d);
	}
	r->ents = t;
	r->ents_cnt = n;
}

int run_rec_decode_head(struct str in, struct run_rec *rec_r)
{
	struct rec_in head = {.rest = in};

	memset(rec_r, 0, sizeof(*rec_r));
	if (get_u8(&head) != VERSION)
		return -1;
	get_head(&head, rec_r);
	return head.bad ? -1 : 0;
}

int run_rec_decode(struct arena *a, struct str in, struct run_rec *rec_r)
{
	struct dec d = {.in = {.rest = in}, .a = a};

	memset(rec_r, 0, sizeof(*rec_r));
	if (get_u8(&d.in) != VERSION)
		return -1;
	get_head(&d.in, rec_r);
	rec_r->data_cut = get_u8(&d.in) != 0;
	rec_r->data_json = get_text(&d.in);
	get_fields(&d, rec_r);
	get_ents(&d, rec_r);
	rec_r->clipped = get_u32(&d.in);
	return d.in.bad || d.in.rest.len != 0 ? -1 : 0;
}
