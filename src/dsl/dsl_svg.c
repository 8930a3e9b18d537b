/* dsl_svg.c - see dsl_svg.h.  Pure; runs in workers and in gamectl. */
#include "dsl/dsl_svg.h"

/* Pixels. */
enum {
	MARGIN = 16,
	TITLE_H = 36,
	ROW_H = 32,
	BOX_H = 24,
	INDENT = 32,
	CHAR_W = 8, /* of the monospaced font below */
	PAD = 8
};
#define CHARS_MAX 100

void dsl_svg_init(struct dsl_svg *g)
{
	memset(g, 0, sizeof(*g));
	buf_init(&g->boxes, 0);
}

/*
 * What XML 1.0 (2.2) has no place for: C0, U+FFFE and U+FFFF, bytes that are
 * not UTF-8; also DEL and C1, for a drawing may be read on a terminal.
 */
static bool is_barred(const unsigned char *p, size_t len)
{
	if (len == 1)
		return p[0] < 0x20 || p[0] == 0x7f;
	if (len == 2)
		return p[0] == 0xc2 && p[1] < 0xa0;
	if (len == 3)
		return p[0] == 0xef && p[1] == 0xbf && p[2] >= 0xbe;
	return len == 0;
}

static void put_text(struct buf *b, struct str s)
{
	while (s.len > 0) {
		size_t len = str_utf8_seq(s);

		if (is_barred((const unsigned char *)s.p, len))
			buf_add_str(b, STR("\xef\xbf\xbd"));
		else if (s.p[0] == '<')
			buf_add_str(b, STR("&lt;"));
		else if (s.p[0] == '>')
			buf_add_str(b, STR("&gt;"));
		else if (s.p[0] == '&')
			buf_add_str(b, STR("&amp;"));
		else
			buf_add(b, s.p, len);
		len += len == 0;
		s.p += len;
		s.len -= len;
	}
}

/* At most CHARS_MAX characters, whole ones. */
static struct str cut(struct str s, size_t *chars_r)
{
	size_t i = 0, chars = 0;

	while (i < s.len && chars < CHARS_MAX) {
		i++;
		while (i < s.len && ((unsigned char)s.p[i] & 0xc0) == 0x80)
			i++;
		chars++;
	}
	*chars_r = chars;
	return (struct str){s.p, i};
}

static void put_link(struct dsl_svg *g, unsigned depth, unsigned x, unsigned y)
{
	unsigned from_x = x - INDENT + PAD,
		 from_y = TITLE_H + g->row_of[depth - 1] * ROW_H + BOX_H;

	buf_printf(&g->boxes,
		"<path d=\"M%u %uV%uH%u\" fill=\"none\" stroke=\"#889\"/>\n",
		from_x, from_y, y + BOX_H / 2, x);
}

void dsl_svg_line(void *arg, unsigned depth, struct str text)
{
	struct dsl_svg *g = arg;
	unsigned x, y, width;
	size_t chars;
	struct str shown = cut(text, &chars);

	if (depth >= DSL_SVG_DEPTH_MAX)
		depth = DSL_SVG_DEPTH_MAX - 1;
	x = MARGIN + depth * INDENT;
	y = TITLE_H + g->rows * ROW_H;
	if (shown.len < text.len)
		chars++;
	width = (unsigned)chars * CHAR_W + 2 * PAD;
	if (depth > 0)
		put_link(g, depth, x, y);
	buf_printf(&g->boxes,
		"<rect x=\"%u\" y=\"%u\" width=\"%u\" height=\"%d\" rx=\"4\" "
		"fill=\"%s\" stroke=\"#556\"/>\n<text x=\"%u\" y=\"%u\">",
		x, y, width, BOX_H, depth == 0 ? "#dde6f5" : "#fff", x + PAD,
		y + BOX_H - PAD);
	put_text(&g->boxes, shown);
	if (shown.len < text.len)
		buf_add_str(&g->boxes, STR("\xe2\x80\xa6"));
	buf_add_str(&g->boxes, STR("</text>\n"));
	if (x + width > g->width)
		g->width = x + width;
	g->row_of[depth] = g->rows++;
}

void dsl_svg_end(struct dsl_svg *g, struct str title, struct buf *out)
{
	size_t chars;
	struct str shown = cut(title, &chars);
	unsigned width = (unsigned)chars * CHAR_W + MARGIN;

	if (g->width > width)
		width = g->width;
	buf_printf(out,
		"<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%u\" "
		"height=\"%u\" font-family=\"monospace\" font-size=\"13\">\n"
		"<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n"
		"<text x=\"%d\" y=\"24\" font-weight=\"bold\">",
		width + MARGIN, TITLE_H + g->rows * ROW_H + MARGIN, MARGIN);
	put_text(out, shown);
	buf_add_str(out, STR("</text>\n"));
	buf_add_str(out, buf_str(&g->boxes));
	buf_add_str(out, STR("</svg>\n"));
	buf_fini(&g->boxes);
}
