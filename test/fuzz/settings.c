/*
 * test/fuzz/settings.c
 *	  Any bytes as a line of usherd.conf, and as a value: read or refused, and printed as the same.
 */
#include "fuzz.h"
#include "settings.h"

const char *const usher_fuzz_words[] = {"listen",
										"=",
										"#",
										" ",
										"\t",
										"\r",
										"10",
										"1.5",
										"0",
										"ms",
										"s",
										"min",
										"h",
										"d",
										"kB",
										"MB",
										"GB",
										"B",
										"9223372036854775807",
										"-",
										"'",
										"\"",
										NULL};

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *copy = malloc(size + (size == 0)), text[SETTINGS_NUMBER_SIZE];
	Slice line = {copy, size}, name, value;
	const char *fault = NULL;
	int64_t number, back;
	double seconds, seconds_back;
	SettingsLine result;

	if (size > 0)
		memcpy(copy, data, size);
	result = settings_line(line, &name, &value, &fault);
	must((result == SETTINGS_LINE_WRONG) == (fault != NULL));
	if (result == SETTINGS_LINE_SET)
	{
		must(name.data >= copy && name.data + name.len < value.data && name.len > 0);
		must(value.data + value.len <= copy + size);
		must(value.len == 0 || (value.data[0] != ' ' && value.data[value.len - 1] != ' '));
		line = value;
	}
	if (settings_integer(line, &number))
		must(settings_bytes(line, &back) ? back == number : number < 0 || line.data[0] == '-');
	if (settings_bytes(line, &number))
	{
		must(number >= 0);
		settings_format_bytes(number, text);
		must(settings_bytes((Slice){text, strlen(text)}, &back) && back == number);
	}
	if (settings_seconds(line, &seconds))
	{
		must(seconds >= 0);
		settings_format_seconds(seconds, text);
		/* Below a millisecond and beyond 15 digits it is not exact, and need not be. */
		if (seconds >= 0.001 && seconds < 1e9)
			must(settings_seconds((Slice){text, strlen(text)}, &seconds_back) &&
				 seconds_back > seconds * 0.999999 && seconds_back < seconds * 1.000001);
	}
	free(copy);
	return 0;
}
