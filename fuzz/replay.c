/*
 * replay.c - runs a fuzz target over files without libFuzzer: those named, or
 * the seeds of the target.
 */
#include "fuzz.h"

#include <dirent.h>
#include <string.h>

#define INPUT_MAX (1 << 20)

static unsigned done;

static int replay(const char *path)
{
	static uint8_t text[INPUT_MAX];
	FILE *f = fopen(path, "rb");
	uint8_t *exact;
	size_t n;

	if (f == NULL) {
		perror(path);
		return -1;
	}
	n = fread(text, 1, sizeof(text), f);
	fclose(f);
	/* of its own size, so that reading past the end is seen */
	exact = malloc(n + (n == 0));
	if (exact == NULL)
		return -1;
	memcpy(exact, text, n);
	LLVMFuzzerTestOneInput(exact, n);
	free(exact);
	done++;
	return 0;
}

static int replay_dir(const char *dir)
{
	DIR *d = opendir(dir);
	struct dirent *e;
	char path[4096];
	int rc = 0;

	if (d == NULL) {
		perror(dir);
		return -1;
	}
	while ((e = readdir(d)) != NULL) {
		if (e->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
		if (replay(path) < 0)
			rc = -1;
	}
	closedir(d);
	return rc;
}

int main(int argc, char **argv)
{
	int rc = 0;

	if (argc == 1 && replay_dir(FUZZ_CORPUS) < 0)
		rc = 1;
	for (int i = 1; i < argc; i++)
		if (replay(argv[i]) < 0)
			rc = 1;
	printf("%u inputs replayed\n", done);
	return done > 0 ? rc : 1;
}
