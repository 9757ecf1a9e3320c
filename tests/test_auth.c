/* SPDX-License-Identifier: MIT */
/* The handshake: recorded ones of CPython 3.11 and 3.13 with the key "secret", where the
 * server's challenge counts 00 01 02 ... and the client's 64 65 66 ...; and peers that do
 * something else. */
#include "channel/auth.h"
#include "conn_help.h"

#define SECRET COVEY_VIEW("secret", 6)

#define CHALLENGE "23 4348414c4c454e4745 23"
#define WELCOME   "00000009 23 57454c434f4d45 23"
#define FAILURE   "00000009 23 4641494c555245 23"
#define SHA256    "7b 736861323536 7d"

/* 20 and 40 bytes from 00, and from 64 on */
#define UP20_00 "000102030405060708090a0b0c0d0e0f10111213"
#define UP40_00 UP20_00 "1415161718191a1b1c1d1e1f2021222324252627"
#define UP20_64 "6465666768696a6b6c6d6e6f7071727374757677"
#define UP40_64 UP20_64 "78797a7b7c7d7e7f808182838485868788898a8b"

#define OLD_SERVER_CHALLENGE "0000001f" CHALLENGE UP20_00
#define OLD_CLIENT_REPLY     "00000010 7defa9cc46abc3583325d17ccda75190"
#define OLD_CLIENT_CHALLENGE "0000001f" CHALLENGE UP20_64
#define OLD_SERVER_REPLY     "00000010 5f9f891a641f27a6cbc56977af884b59"
#define NEW_SERVER_CHALLENGE "0000003b" CHALLENGE SHA256 UP40_00
#define NEW_CLIENT_REPLY                                                               \
    "00000028" SHA256 "fc57fbe650d6124b98215e7b5d197d5807ad69982d275a9735ea2d56f1fa69" \
    "89"
#define NEW_CLIENT_CHALLENGE "0000003b" CHALLENGE SHA256 UP40_64
#define NEW_SERVER_REPLY                                                               \
    "00000028" SHA256 "ae0e87a78d52303bf1858025a924cf0bbdd4d462272cff778bea41045078e8" \
    "6a"
#define OLD_CLIENT_REPLY_TO_NEW "00000010 8e48d2bb349b4b72b9382999ed5b62eb"
#define OLD_SERVER_REPLY_TO_NEW "00000010 8151cd4c7af4d387ed2d53bddc335275"

/* One half of a handshake whose own challenge is known. */
static struct cvy_auth begun(enum cvy_auth_half half, bool allow_md5, const char *own)
{
    struct cvy_auth auth;
    cvy_auth_begin(&auth, SECRET, allow_md5, half, CVY_AUTH_NOTHING);
    if (own)
        auth.own_size = unhex(own, auth.own);
    return auth;
}

static int go_on(struct cvy_auth *auth, struct bare *b)
{
    return cvy_auth_go_on(auth, b->conn, 0);
}

/* Deliver `challenge`, get `reply`, say `verdict`. Returns: how it went. */
static int deliver(bool allow_md5, const char *own, const char *challenge,
                   const char *reply, const char *verdict)
{
    struct bare b = bare_new();
    struct cvy_auth auth = begun(CVY_AUTH_DELIVER, allow_md5, own);
    CHECK_EQ(go_on(&auth, &b), -ETIMEDOUT);
    reads_hex(b.fd, challenge);
    write_hex(b.fd, reply);
    int r = go_on(&auth, &b);
    reads_hex(b.fd, verdict);
    bare_free(&b);
    return r;
}

/* Answer `challenge` by `reply`. */
static int answer(bool allow_md5, const char *challenge, const char *reply,
                  const char *verdict)
{
    struct bare b = bare_new();
    struct cvy_auth auth = begun(CVY_AUTH_ANSWER, allow_md5, NULL);
    write_hex(b.fd, challenge);
    int r = go_on(&auth, &b);
    if (reply) {
        CHECK_EQ(r, -ETIMEDOUT);
        reads_hex(b.fd, reply);
        write_hex(b.fd, verdict);
        r = go_on(&auth, &b);
    }
    bare_free(&b);
    return r;
}

TEST(recorded_handshakes_of_3_13)
{
    CHECK_OK(deliver(false, SHA256 UP40_00, NEW_SERVER_CHALLENGE, NEW_CLIENT_REPLY,
                     WELCOME));
    CHECK_OK(deliver(false, SHA256 UP40_64, NEW_CLIENT_CHALLENGE, NEW_SERVER_REPLY,
                     WELCOME));
    CHECK_OK(answer(false, NEW_SERVER_CHALLENGE, NEW_CLIENT_REPLY, WELCOME));
    CHECK_OK(answer(false, NEW_CLIENT_CHALLENGE, NEW_SERVER_REPLY, WELCOME));
}

TEST(recorded_handshakes_of_3_11)
{
    CHECK_OK(answer(true, OLD_SERVER_CHALLENGE, OLD_CLIENT_REPLY, WELCOME));
    CHECK_OK(answer(true, OLD_CLIENT_CHALLENGE, OLD_SERVER_REPLY, WELCOME));
    CHECK_OK(deliver(true, SHA256 UP40_00, NEW_SERVER_CHALLENGE,
                     OLD_CLIENT_REPLY_TO_NEW, WELCOME));
    CHECK_OK(deliver(true, SHA256 UP40_64, NEW_CLIENT_CHALLENGE,
                     OLD_SERVER_REPLY_TO_NEW, WELCOME));
}

TEST(md5_is_refused_unless_it_is_allowed)
{
    CHECK_EQ(deliver(false, SHA256 UP40_00, NEW_SERVER_CHALLENGE,
                     OLD_CLIENT_REPLY_TO_NEW, FAILURE),
             COVEY_EAUTH);
    CHECK_STR_HAS(covey_error_detail(), "allow_md5");
    CHECK_EQ(answer(false, OLD_SERVER_CHALLENGE, NULL, NULL), COVEY_EAUTH);
    CHECK_STR_HAS(covey_error_detail(), "allow_md5");
    /* {md5} by its name, as a modern peer may say */
    CHECK_EQ(answer(false, "0000002a" CHALLENGE "7b6d64357d" UP20_00 "141516171819",
                    NULL, NULL),
             COVEY_EAUTH);
}

TEST(wrong_answers_are_refused)
{
    static const char *const replies[] = {
        "00000000",
        "00000010 00000000000000000000000000000000",
        "00000014 0000000000000000000000000000000000000000",
        "00000008" SHA256,
        "00000027" SHA256
        "fc57fbe650d6124b98215e7b5d197d5807ad69982d275a9735ea2d56f1fa69",
        "00000028" SHA256
        "fc57fbe650d6124b98215e7b5d197d5807ad69982d275a9735ea2d56f1fa6988",
        "00000028 7b 534841323536 7d" /* SHA256: names are as they are written */
        "fc57fbe650d6124b98215e7b5d197d5807ad69982d275a9735ea2d56f1fa6989",
        "00000005 7b6d64357d",
        "0000000a 7b7b7b7b7b7b7b7b7b7b",
    };
    for (size_t i = 0; i < sizeof replies / sizeof *replies; i++)
        for (int md5 = 0; md5 < 2; md5++) {
            CHECK_EQ(
                deliver(md5, SHA256 UP40_00, NEW_SERVER_CHALLENGE, replies[i], FAILURE),
                COVEY_EAUTH);
        }
}

TEST(refused_proofs_and_challenges_that_are_none)
{
    CHECK_EQ(answer(true, NEW_SERVER_CHALLENGE, NEW_CLIENT_REPLY, FAILURE),
             COVEY_EAUTH);
    CHECK_EQ(answer(true, NEW_SERVER_CHALLENGE, NEW_CLIENT_REPLY, "00000000"),
             COVEY_EAUTH);
    CHECK_EQ(answer(true, "00000000", NULL, NULL), COVEY_EAUTH);
    CHECK_EQ(answer(true, "00000005 68656c6c6f", NULL, NULL), COVEY_EAUTH);
    CHECK_EQ(answer(true, "0000000b" CHALLENGE, NULL, NULL), COVEY_EAUTH);
    CHECK_EQ(answer(true, "0000001e" CHALLENGE "000102030405060708090a0b0c0d0e0f101112",
                    NULL, NULL),
             COVEY_EAUTH);
    /* {sha512}, which Python does not allow, and no digest at all */
    CHECK_EQ(
        answer(true, "0000003b" CHALLENGE "7b 736861353132 7d" UP40_00, NULL, NULL),
        COVEY_EAUTH);
    CHECK_EQ(answer(true, "00000033" CHALLENGE UP40_00, NULL, NULL), COVEY_EAUTH);
}

TEST(every_digest_of_python_is_answered)
{
    static const struct {
        const char *name;
        size_t size;
    } digests[] = {{"{md5}", 16},
                   {"{sha256}", 32},
                   {"{sha384}", 48},
                   {"{sha3_256}", 32},
                   {"{sha3_384}", 48}};
    for (size_t i = 0; i < sizeof digests / sizeof *digests; i++) {
        struct bare b = bare_new();
        struct cvy_auth auth = begun(CVY_AUTH_ANSWER, true, NULL);
        char message[128] = "#CHALLENGE#", reply[128] = "";
        size_t length = strlen(digests[i].name), size = 0;
        covey_conn *other;
        strcat(message, digests[i].name);
        memset(message + 11 + length, 'x', 40);
        CHECK_OK(covey_conn_open_fd(&other, dup(b.fd), NULL));
        CHECK_OK(covey_conn_send(other, COVEY_VIEW(message, 11 + length + 40),
                                 COVEY_NOWAIT));
        CHECK_EQ(go_on(&auth, &b), -ETIMEDOUT);
        CHECK_OK(covey_conn_recv_into(other, reply, sizeof reply, &size, COVEY_NOWAIT));
        CHECK_EQ(size, length + digests[i].size);
        CHECK_MEM_EQ(reply, digests[i].name, length);
        covey_conn_free(other);
        bare_free(&b);
    }
}

TEST(no_more_than_256_bytes_are_read_before_the_proof)
{
    struct bare b = bare_new();
    struct cvy_auth auth = begun(CVY_AUTH_DELIVER, true, NULL);
    char flood[4096] = {0, 0, 1, 1};
    int left = 0;
    CHECK_EQ(go_on(&auth, &b), -ETIMEDOUT);
    CHECK_EQ(write(b.fd, flood, sizeof flood), (ssize_t)sizeof flood);
    CHECK_EQ(go_on(&auth, &b), COVEY_EPROTOCOL);
    CHECK_STR_HAS(covey_error_detail(), "257 bytes");
    (void)left;
    bare_free(&b);
    CHECK_EQ(answer(true, "00000101", NULL, NULL), COVEY_EPROTOCOL);
    CHECK_EQ(answer(true, "7fffffff", NULL, NULL), COVEY_EPROTOCOL);
    CHECK_EQ(answer(true, "ffffffff 7fffffffffffffff", NULL, NULL), COVEY_EPROTOCOL);
}

TEST(handshake_that_comes_byte_by_byte_goes_on)
{
    unsigned char bytes[128];
    struct bare b = bare_new();
    struct cvy_auth auth = begun(CVY_AUTH_DELIVER, false, SHA256 UP40_00);
    size_t size = unhex(NEW_CLIENT_REPLY, bytes);
    for (size_t i = 0; i < size; i++) {
        CHECK_EQ(go_on(&auth, &b), -ETIMEDOUT);
        CHECK_EQ(write(b.fd, bytes + i, 1), 1);
    }
    CHECK_OK(go_on(&auth, &b));
    bare_free(&b);
}

/* ---- the two calls ---- */

struct side {
    covey_conn *conn;
    struct covey_view key;
    int first, second;
};

static void *answer_then_deliver(void *arg)
{
    struct side *s = arg;
    s->first = covey_answer_challenge(s->conn, s->key, NULL, COVEY_SEC(20));
    if (s->first >= 0)
        s->second = covey_deliver_challenge(s->conn, s->key, NULL, COVEY_SEC(20));
    return NULL;
}

static void prove(covey_conn *conn, covey_conn *other, struct covey_view key,
                  struct covey_view other_key, int wanted)
{
    struct side s = {other, other_key, 0, 0};
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, answer_then_deliver, &s), 0);
    int r = covey_deliver_challenge(conn, key, NULL, COVEY_SEC(20));
    CHECK_EQ(r, wanted);
    if (r >= 0)
        CHECK_EQ(covey_answer_challenge(conn, key, NULL, COVEY_SEC(20)), wanted);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_EQ(s.first, wanted);
    CHECK_EQ(s.second, 0);
}

TEST(both_sides_prove_over_a_socket_and_over_a_pipe)
{
    struct bare b = bare_new();
    covey_conn *other, *a, *c;
    CHECK_OK(covey_conn_open_fd(&other, b.fd, NULL));
    prove(b.conn, other, SECRET, SECRET, 0);
    prove(b.conn, other, COVEY_VIEW("", 0), COVEY_VIEW("", 0), 0);
    prove(b.conn, other, SECRET, COVEY_VIEW("other", 5), COVEY_EAUTH);
    covey_conn_free(other);
    covey_conn_free(b.conn);
    CHECK_OK(covey_pipe_create(&a, &c, NULL));
    prove(a, c, SECRET, SECRET, 0);
    prove(a, c, SECRET, COVEY_VIEW("secreT", 6), COVEY_EAUTH);
    covey_conn_free(a);
    covey_conn_free(c);
}

TEST(silent_peer_costs_only_the_time_that_was_given)
{
    struct bare b = bare_new();
    CHECK_ERR(covey_deliver_challenge(b.conn, SECRET, NULL, COVEY_MSEC(5)), -ETIMEDOUT);
    CHECK_ERR(covey_answer_challenge(b.conn, SECRET, NULL, COVEY_NOWAIT), -ETIMEDOUT);
    CHECK_ERR(covey_answer_challenge(b.conn, COVEY_VIEW(NULL, 3), NULL, 0), -EINVAL);
    CHECK_ERR(covey_deliver_challenge(NULL, SECRET, NULL, 0), -EINVAL);
    close(b.fd);
    b.fd = -1;
    CHECK_ERR(covey_answer_challenge(b.conn, SECRET, NULL, COVEY_FOREVER), COVEY_EEOF);
    bare_free(&b);
}

CHECK_MAIN()
