
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The resume token.
 */


#include "session/resume_token.h"
#include "base/id.h"
#include "http/headers.h"


static ngx_uint_t token_parse(ngx_str_t *token, fanout_identity_t *id);


ngx_uint_t
fanout_token_read(ngx_http_request_t *r, fanout_identity_t *id)
{
    ngx_str_t         list, token;
    fanout_headers_t  h;

    static const char  prefix[] = "fanout.resume.";

    if (fanout_header(r, "fanout-resume", &token) == 1) {
        return token_parse(&token, id);
    }

    ngx_memzero(&h, sizeof(fanout_headers_t));

    while (fanout_next_header(r, "sec-websocket-protocol", &h, &list)) {
        while (fanout_next_token(&list, &token)) {

            if (token.len == sizeof(prefix) - 1 + FANOUT_TOKEN_LEN
                && ngx_strncmp(token.data, prefix, sizeof(prefix) - 1) == 0)
            {
                token.data += sizeof(prefix) - 1;
                token.len -= sizeof(prefix) - 1;

                return token_parse(&token, id);
            }
        }
    }

    return 0;
}


static ngx_uint_t
token_parse(ngx_str_t *token, fanout_identity_t *id)
{
    u_char     *p;
    ngx_int_t   n;
    ngx_uint_t  i;

    p = token->data;

    if (token->len != FANOUT_TOKEN_LEN || p[0] != 'r' || p[1] != '_') {
        return 0;
    }

    id->client = 0;

    for (i = 0; i < 8; i++) {
        n = ngx_hextoi(p + 2 + i * 2, 2);
        if (n == NGX_ERROR) {
            return 0;
        }

        id->client = id->client << 8 | n;
    }

    for (i = 0; i < 16; i++) {
        n = ngx_hextoi(p + 18 + i * 2, 2);
        if (n == NGX_ERROR) {
            return 0;
        }

        id->secret[i] = n;
    }

    return id->client != 0;
}


u_char *
fanout_token_write(u_char *p, fanout_identity_t *id)
{
    u_char  client[FANOUT_CLIENT_LEN];

    (void) fanout_client_format(client, id->client);

    *p++ = 'r';
    *p++ = '_';
    p = ngx_cpymem(p, client + 2, 16);

    return ngx_hex_dump(p, id->secret, sizeof(id->secret));
}
