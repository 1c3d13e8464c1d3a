/*
 * test/unit/jwt_claims.c
 *	  Tokens: every edge of a claim.
 *
 * unit sources: -lcjose -ljansson -lcrypto
 */
#include "jwt_tokens.h"

#define DISTINCT_MAX 256 /* json_check.h, which does not go with jansson.h */

typedef struct ClaimCase
{
	const char *claims; /* without sub and tenant */
	const char *wanted;
} ClaimCase;

static void
claims_are(const char *claims, const char *wanted)
{
	size_t len;
	const unsigned char *bytes = secret(&len);
	char *token = hs_token("{\"alg\":\"HS256\",\"kid\":\"h\"}", claims, bytes, len);

	expect(set, token, NOW, wanted, claims);
	free(token);
}

#define WHO "{\"sub\":\"u\",\"tenant\":\"t\","
#define EXP "\"exp\":1700000100,"

static void
test_times(void)
{
	static const ClaimCase cases[] = {
		{WHO "\"x\":1}", NO_EXP},
		{WHO "\"exp\":1700000001}", ""},
		{WHO "\"exp\":1700000000}", OVER},
		{WHO "\"exp\":1699999999}", OVER},
		{WHO "\"exp\":1700000001.0}", ""},
		{WHO "\"exp\":1.700000001e9}", ""},
		{WHO "\"exp\":1700000000.9}", OVER},
		{WHO "\"exp\":1699999999.9}", OVER},
		{WHO "\"exp\":0}", OVER},
		{WHO "\"exp\":-1}", NO_TIME},
		{WHO "\"exp\":-0.5}", NO_TIME},
		{WHO "\"exp\":253402300799}", ""},
		{WHO "\"exp\":253402300800}", NO_TIME},
		{WHO "\"exp\":9223372036854775807}", NO_TIME},
		{WHO "\"exp\":9223372036854775808}", NO_TIME},
		{WHO "\"exp\":1e300}", NO_TIME},
		{WHO "\"exp\":1e999}", NO_TIME},
		{WHO "\"exp\":\"1700000100\"}", NO_TIME},
		{WHO "\"exp\":null}", NO_TIME},
		{WHO "\"exp\":true}", NO_TIME},
		{WHO "\"exp\":[1700000100]}", NO_TIME},
		{WHO EXP "\"nbf\":1700000000}", ""},
		{WHO EXP "\"nbf\":1700000001}", EARLY},
		{WHO EXP "\"nbf\":1700000000.1}", EARLY},
		{WHO EXP "\"nbf\":1699999999.9}", ""},
		{WHO EXP "\"nbf\":\"1\"}", NO_TIME},
		{WHO EXP "\"iat\":1700000000}", ""},
		{WHO EXP "\"iat\":1700000000.9}", ""},
		{WHO EXP "\"iat\":1700000001}", FUTURE},
		{WHO EXP "\"iat\":false}", NO_TIME},
		{WHO EXP "\"exp\":1700000200}", NO_CLAIMS},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		claims_are(cases[i].claims, cases[i].wanted);
	rules.skew = 30;
	claims_are(WHO "\"exp\":1699999971}", "");
	claims_are(WHO "\"exp\":1699999970}", OVER);
	claims_are(WHO EXP "\"nbf\":1700000030}", "");
	claims_are(WHO EXP "\"nbf\":1700000031}", EARLY);
	claims_are(WHO EXP "\"iat\":1700000030}", "");
	claims_are(WHO EXP "\"iat\":1700000031}", FUTURE);
	rules.skew = 0;
}

static void
test_audiences(void)
{
	claims_are(WHO EXP "\"aud\":\"api\"}", "the token is for an audience, and none is configured");
	rules.audience = "api";
	claims_are(WHO EXP "\"aud\":\"api\"}", "");
	claims_are(WHO EXP "\"aud\":[\"other\",\"api\"]}", "");
	claims_are(WHO EXP "\"aud\":[\"other\"]}", OTHER_AUD);
	claims_are(WHO EXP "\"aud\":[]}", OTHER_AUD);
	claims_are(WHO EXP "\"aud\":\"API\"}", OTHER_AUD);
	claims_are(WHO EXP "\"aud\":\"api other\"}", OTHER_AUD);
	claims_are(WHO EXP "\"aud\":\"\"}", OTHER_AUD);
	claims_are(WHO EXP "\"x\":1}", OTHER_AUD);
	claims_are(WHO EXP "\"aud\":[\"api\",7]}",
			   "the token's aud is neither a text nor a list of texts");
	claims_are(WHO EXP "\"aud\":{\"api\":1}}",
			   "the token's aud is neither a text nor a list of texts");
	claims_are(WHO EXP "\"aud\":null}", "the token's aud is neither a text nor a list of texts");
	rules.audience = "";
	claims_are(WHO EXP "\"iss\":\"https://any\"}", "");
	rules.issuer = "https://id";
	claims_are(WHO EXP "\"iss\":\"https://id\"}", "");
	claims_are(WHO EXP "\"iss\":\"https://id/\"}", "the token is of another issuer");
	claims_are(WHO EXP "\"iss\":[\"https://id\"]}", "the token is of another issuer");
	claims_are(WHO EXP "\"x\":1}", "the token is of another issuer");
	rules.issuer = "";
}

static void
test_who(void)
{
	static const ClaimCase cases[] = {
		{"{" EXP "\"sub\":\"u\"}", NO_TENANT},
		{"{" EXP "\"sub\":\"u\",\"tenant\":\"\"}", NO_TENANT},
		{"{" EXP "\"sub\":\"u\",\"tenant\":\"Acme\"}", NO_TENANT},
		{"{" EXP "\"sub\":\"u\",\"tenant\":\"-a\"}", NO_TENANT},
		{"{" EXP "\"sub\":\"u\",\"tenant\":\"a b\"}", NO_TENANT},
		{"{" EXP "\"sub\":\"u\",\"tenant\":\"a'--\"}", NO_TENANT},
		{"{" EXP "\"sub\":\"u\",\"tenant\":[\"a\"]}", NO_TENANT},
		{"{" EXP "\"sub\":\"u\",\"tenant\":null}", NO_TENANT},
		{"{" EXP "\"sub\":\"u\",\"tenant\":\"a-1_b\"}", ""},
		{"{" EXP "\"tenant\":\"a\"}", NO_SUB},
		{"{" EXP "\"tenant\":\"a\",\"sub\":\"\"}", NO_SUB},
		{"{" EXP "\"tenant\":\"a\",\"sub\":7}", NO_SUB},
		{"{" EXP "\"tenant\":\"a\",\"sub\":\"\\u0000\"}", NO_CLAIMS},
		{"{" EXP "\"tenant\":\"a\",\"sub\":\"a\",\"sub\":\"b\"}", NO_CLAIMS},
		{"{" EXP "\"tenant\":\"a\",\"sub\":\"a\",\"s\\u0075b\":\"b\"}", NO_CLAIMS},
		{WHO EXP "\"x\":1,\"x\":1}", NO_CLAIMS},
		{WHO EXP "\"x\":[{\"y\":{\"z\":1,\"z\":2}}]}", NO_CLAIMS},
		{WHO EXP "\"x\":[{\"y\":{\"z\":1,\"y\":2}}]}", ""},
		{WHO EXP "\"sid\":\"\"}", "the token's sid is no text, empty or too long"},
		{WHO EXP "\"sid\":1}", "the token's sid is no text, empty or too long"},
		{WHO EXP "\"actor_type\":\"service\"}", ""},
		{WHO EXP "\"actor_type\":\"anonymous\"}",
		 "the token's actor_type is neither user nor service"},
		{WHO EXP "\"scope\":\"log:read  log:append:order\"}", ""},
		{WHO EXP "\"scopes\":[\"log:read\"]}", ""},
		{WHO EXP "\"scope\":[\"log:read admin\"]}", NO_SCOPE},
		{WHO EXP "\"scopes\":[1]}", NO_SCOPE},
		{WHO EXP "\"scopes\":{}}", NO_SCOPE},
		{WHO EXP "\"scope\":null}", NO_SCOPE},
		{WHO EXP "\"roles\":\"clerk\"}", ""},
		{WHO EXP "\"roles\":[null]}",
		 "the token's roles are neither words nor a list of words, or too many"},
		{"[]", NO_CLAIMS},
		{"", NO_FORM},
		{"{", NO_CLAIMS},
		{"{} {}", NO_CLAIMS},
		{"\xff", NO_CLAIMS},
	};
	char long_sub[400] = "{" EXP "\"tenant\":\"a\",\"sub\":\"";
	size_t at = strlen(long_sub);

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		claims_are(cases[i].claims, cases[i].wanted);
	memset(long_sub + at, 'u', JWT_SUBJECT_MAX);
	strcpy(long_sub + at + JWT_SUBJECT_MAX, "\"}");
	claims_are(long_sub, "");
	strcpy(long_sub + at + JWT_SUBJECT_MAX, "u\"}");
	claims_are(long_sub, NO_SUB);
	rules.tenant_claim = "https://example.com/tenant";
	claims_are("{" EXP "\"sub\":\"u\",\"https://example.com/tenant\":\"a\"}", "");
	claims_are(WHO EXP "\"x\":1}", NO_TENANT);
	rules.tenant_claim = "sub";
	claims_are("{" EXP "\"sub\":\"u\"}", "");
	rules.tenant_claim = "tenant";
	rules.default_tenant = "default";
	claims_are("{" EXP "\"sub\":\"u\"}", "");
	claims_are("{" EXP "\"sub\":\"u\",\"tenant\":\"\"}", NO_TENANT);
	rules.default_tenant = "";
}

/* {"a":0,"b":0,...,"exp":...}: so many others beside those that count. */
static void
test_many(void)
{
	for (int n = DISTINCT_MAX - 4; n <= DISTINCT_MAX - 2; n++)
	{
		char *claims = malloc(8192);
		int at = sprintf(claims, "%s", WHO EXP);

		for (int i = 0; i < n; i++)
			at += sprintf(claims + at, "\"x%d\":0%s", i, i + 1 < n ? "," : "}");
		claims_are(claims, n + 3 <= DISTINCT_MAX ? "" : NO_CLAIMS);
		free(claims);
	}
}

static void
test_identity(void)
{
	char *token = signed_with(
		"e", "{\"sub\": \"u-7\", \"tenant\": \"acme\", \"sid\": \"s-1\", \"iat\": "
			 "1699999990.7, \"exp\": 1700000100.7, \"roles\": [\"clerk\"], \"scope\": "
			 "\"log:read a log:read\", \"scopes\": [\"b\", \"a\"]}");
	const char *reason = NULL;
	Identity *who = jwt_verify(set, &rules, token, strlen(token), NOW, &reason);

	ok(who != NULL && reason == NULL, "an identity");
	if (who != NULL)
		ok(strcmp(who->tenant, "acme") == 0 && strcmp(who->user, "u-7") == 0 &&
			   strcmp(who->session, "s-1") == 0 && strcmp(who->actor_type, "user") == 0 &&
			   !who->is_key && !who->anonymous && who->issued_at == 1699999990 &&
			   who->expires_at == 1700000100 && who->nroles == 1 &&
			   strcmp(who->roles[0], "clerk") == 0 && who->nscopes == 3 &&
			   strcmp(who->scopes[0], "log:read") == 0 && strcmp(who->scopes[1], "a") == 0 &&
			   strcmp(who->scopes[2], "b") == 0,
		   "has all that the claims say");
	identity_release(who);
	free(token);
}

int
main(void)
{
	set = make_set();
	test_times();
	test_audiences();
	test_who();
	test_many();
	test_identity();
	keys_free(set);
	return tap_end();
}
