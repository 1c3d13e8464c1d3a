/*
 * test/fuzz/driver.c
 *	  Runs a fuzz target where libFuzzer is missing: random inputs, some of words
 *	  that the target knows, some changed from inputs before.
 *
 * Takes libFuzzer's options -max_total_time=SECONDS and -seed=NUMBER.  It has no
 * feedback from the code; the sanitizers and the target itself judge.  The last
 * input is in the file named by the environment variable USHER_FUZZ_INPUT when
 * the program ends badly.
 */
#include "fuzz.h"

#include <sanitizer/common_interface_defs.h>
#include <time.h>

#define INPUT_MAX 1024
#define KEPT      64

static uint8_t kept[KEPT][INPUT_MAX];
static size_t kept_len[KEPT];
static uint8_t input[INPUT_MAX];
static size_t input_len;
static unsigned seed = 1;

static unsigned
below(unsigned limit)
{
	return (unsigned) rand_r(&seed) % limit;
}

static void
add(const void *bytes, size_t len)
{
	if (len > INPUT_MAX - input_len)
		len = INPUT_MAX - input_len;
	memcpy(input + input_len, bytes, len);
	input_len += len;
}

static void
add_something(void)
{
	unsigned words = 0;
	uint8_t byte = (uint8_t) below(256);

	while (usher_fuzz_words[words] != NULL)
		words++;
	if (words > 0 && below(3) != 0)
	{
		const char *word = usher_fuzz_words[below(words)];

		add(word, strlen(word));
	}
	else
		add(&byte, 1);
}

static void
make_input(void)
{
	unsigned from = below(KEPT);

	input_len = 0;
	if (below(2) == 0)
	{
		add(kept[from], below((unsigned) kept_len[from] + 1));
		for (unsigned n = below(4); n > 0 && input_len > 0; n--)
			input[below((unsigned) input_len)] ^= (uint8_t) (1 << below(8));
	}
	for (unsigned n = below(12); n > 0; n--)
		add_something();
	if (below(8) == 0)
	{
		unsigned to = below(KEPT);

		memcpy(kept[to], input, input_len);
		kept_len[to] = input_len;
	}
}

static void
write_input(void)
{
	const char *path = getenv("USHER_FUZZ_INPUT");
	FILE *file = path ? fopen(path, "wb") : NULL;

	if (file != NULL)
	{
		fwrite(input, 1, input_len, file);
		fclose(file);
	}
}

int
main(int argc, char **argv)
{
	long seconds = 5;
	unsigned long runs = 0;
	time_t end;

	for (int i = 1; i < argc; i++)
	{
		if (strncmp(argv[i], "-max_total_time=", 16) == 0)
			seconds = strtol(argv[i] + 16, NULL, 10);
		else if (strncmp(argv[i], "-seed=", 6) == 0)
			seed = (unsigned) strtoul(argv[i] + 6, NULL, 10);
	}
	__sanitizer_set_death_callback(write_input);
	end = time(NULL) + seconds;
	while (time(NULL) < end)
		for (int i = 0; i < 1000; i++, runs++)
		{
			/* A copy of the exact size, so that a byte read too far is seen. */
			uint8_t *copy;

			make_input();
			copy = malloc(input_len + (input_len == 0));
			memcpy(copy, input, input_len);
			LLVMFuzzerTestOneInput(copy, input_len);
			free(copy);
		}
	printf("stat::number_of_executed_units: %lu\n", runs);
	return 0;
}
