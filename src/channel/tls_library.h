/* SPDX-License-Identifier: MIT */
/**
 * channel/tls_library.h: what is used of libssl and of libcrypto beside it.
 *
 * Dynamic programs load it. A static one that wants TLS is linked with libssl and
 * `-Wl,-u,cvy_tls_linked`, which takes in tls_linked.c.
 */
#ifndef CVY_CHANNEL_TLS_LIBRARY_H
#define CVY_CHANNEL_TLS_LIBRARY_H

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>

#define CVY_TLS_FUNCTIONS(X)                                                           \
    X(TLS_method)                                                                      \
    X(SSL_CTX_new)                                                                     \
    X(SSL_CTX_free)                                                                    \
    X(SSL_CTX_ctrl)                                                                    \
    X(SSL_CTX_set_num_tickets)                                                         \
    X(SSL_CTX_set_ciphersuites)                                                        \
    X(SSL_CTX_set_verify)                                                              \
    X(SSL_CTX_set_default_passwd_cb)                                                   \
    X(SSL_CTX_use_certificate_chain_file)                                              \
    X(SSL_CTX_use_PrivateKey_file)                                                     \
    X(SSL_CTX_check_private_key)                                                       \
    X(SSL_CTX_load_verify_locations)                                                   \
    X(SSL_CTX_set_psk_use_session_callback)                                            \
    X(SSL_CTX_set_psk_find_session_callback)                                           \
    X(SSL_new)                                                                         \
    X(SSL_free)                                                                        \
    X(SSL_ctrl)                                                                        \
    X(SSL_set_ex_data)                                                                 \
    X(SSL_get_ex_data)                                                                 \
    X(SSL_set_bio)                                                                     \
    X(SSL_set_accept_state)                                                            \
    X(SSL_set_connect_state)                                                           \
    X(SSL_set1_host)                                                                   \
    X(SSL_get0_param)                                                                  \
    X(SSL_do_handshake)                                                                \
    X(SSL_session_reused)                                                              \
    X(SSL_get_verify_result)                                                           \
    X(SSL_read_ex)                                                                     \
    X(SSL_peek_ex)                                                                     \
    X(SSL_write_ex)                                                                    \
    X(SSL_pending)                                                                     \
    X(SSL_set_info_callback)                                                           \
    X(SSL_shutdown)                                                                    \
    X(SSL_CIPHER_find)                                                                 \
    X(SSL_SESSION_new)                                                                 \
    X(SSL_SESSION_free)                                                                \
    X(SSL_SESSION_set1_master_key)                                                     \
    X(SSL_SESSION_set_cipher)                                                          \
    X(SSL_SESSION_set_protocol_version)                                                \
    X(X509_VERIFY_PARAM_set1_ip_asc)                                                   \
    X(X509_verify_cert_error_string)                                                   \
    X(ERR_set_mark)                                                                    \
    X(ERR_pop_to_mark)                                                                 \
    X(ERR_peek_error)                                                                  \
    X(ERR_peek_last_error)                                                             \
    X(ERR_reason_error_string)                                                         \
    X(BIO_meth_new)                                                                    \
    X(BIO_meth_free)                                                                   \
    X(BIO_meth_set_read)                                                               \
    X(BIO_meth_set_write)                                                              \
    X(BIO_meth_set_ctrl)                                                               \
    X(BIO_new)                                                                         \
    X(BIO_set_init)                                                                    \
    X(BIO_set_data)                                                                    \
    X(BIO_get_data)                                                                    \
    X(BIO_set_flags)                                                                   \
    X(BIO_clear_flags)

struct cvy_tls_functions {
#define CVY_TLS_MEMBER(name) __typeof__(name) *name;
    CVY_TLS_FUNCTIONS(CVY_TLS_MEMBER)
#undef CVY_TLS_MEMBER
};

/** Those of a program that is linked with them; else it has no address. */
extern const struct cvy_tls_functions cvy_tls_linked
    __attribute__((visibility("hidden")));

/** Find them. Returns: 0; -ELIBACC; -ENOMEM. */
int cvy_tls_library_load(void);
/** Those that were found. */
const struct cvy_tls_functions *cvy_tls_library(void);

#endif
