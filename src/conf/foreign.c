
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The configuration of NGINX's own modules, as far as it decides whether a
 * location is guarded, and whether its requests reach a handler at all.
 *
 * These modules keep their structures to themselves.  Only the first members
 * are read, which have been the same for as long as dynamic modules exist, and
 * only in checks that give warnings.
 */


#include "conf/conf.h"


/* the rules of ngx_http_access_module, for each family; "all" is a rule of each
 * with the mask 0 */

typedef struct {
    in_addr_t    mask;
    in_addr_t    addr;
    ngx_uint_t   deny;
} access_rule_t;

#if (NGX_HAVE_INET6)

typedef struct {
    struct in6_addr  addr;
    struct in6_addr  mask;
    ngx_uint_t       deny;
} access_rule6_t;

#endif

typedef enum {
    ACCESS_NONE,
    ACCESS_PART,            /* some addresses are named */
    ACCESS_ALLOW,           /* "allow all" */
    ACCESS_DENY             /* "deny all" */
} access_e;


static uintptr_t *find_conf(ngx_conf_t *cf, void **loc_conf, const char *name);
static uintptr_t set_member(uintptr_t *conf, ngx_uint_t n);
static access_e access_rules(uintptr_t *conf, ngx_int_t family);
#if (NGX_HAVE_INET6)
static access_e access_rules6(uintptr_t *conf);
#endif
static ngx_uint_t has_password(uintptr_t *conf);
static ngx_uint_t may_leave(u_char *p, size_t size, ngx_uint_t server);
#if (NGX_PCRE)
static ngx_uint_t is_kept(u_char *p, size_t size, ngx_uint_t server);
#endif
static size_t code_size(u_char *p);
#if (NGX_PCRE)
static ngx_uint_t matches_all(ngx_str_t *regex);
#endif


/* The structure that a module has for a location, NULL if there is no such
 * module. */

static uintptr_t *
find_conf(ngx_conf_t *cf, void **loc_conf, const char *name)
{
    ngx_uint_t     i;
    ngx_module_t  *module;

    for (i = 0; (module = cf->cycle->modules[i]) != NULL; i++) {

        if (module->type == NGX_HTTP_MODULE
            && ngx_strcmp(module->name, name) == 0)
        {
            return loc_conf[module->ctx_index];
        }
    }

    return NULL;
}


/* A pointer or a length, 0 where the directive is not set. */

static uintptr_t
set_member(uintptr_t *conf, ngx_uint_t n)
{
    return conf == NULL || conf[n] == (uintptr_t) -1 ? 0 : conf[n];
}


ngx_uint_t
fanout_conf_is_set(ngx_conf_t *cf, void **loc_conf, const char *name)
{
    return set_member(find_conf(cf, loc_conf, name), 0) != 0;
}


const char *
fanout_conf_unguarded(ngx_conf_t *cf, ngx_http_core_loc_conf_t *clcf,
    ngx_int_t family)
{
    void       **loc_conf;
    access_e     access;
    uintptr_t   *basic;

    loc_conf = ((ngx_http_conf_ctx_t *) cf->ctx)->loc_conf;

    access = access_rules(find_conf(cf, loc_conf, "ngx_http_access_module"),
                          family);
    basic = find_conf(cf, loc_conf, "ngx_http_auth_basic_module");

    if (access == ACCESS_ALLOW && clcf->satisfy == NGX_HTTP_SATISFY_ANY) {
        return " (\"allow all\" satisfies \"satisfy any\")";
    }

    if (access == ACCESS_DENY || has_password(basic)
        || fanout_conf_is_set(cf, loc_conf, "ngx_http_auth_request_module"))
    {
        return NULL;
    }

    if (access != ACCESS_NONE && family == AF_INET) {
        return " (its \"allow\" and \"deny\" have no \"deny all\" at the end)";
    }

    if (family != AF_INET) {
        return " (its \"allow\" and \"deny\" have no \"deny all\" for IPv6)";
    }

    if (set_member(basic, 0) && !set_member(basic, 1)) {
        return " (\"auth_basic\" needs \"auth_basic_user_file\")";
    }

    return "";
}


/* The first rule that is for all addresses decides. */

static access_e
access_rules(uintptr_t *conf, ngx_int_t family)
{
    ngx_uint_t      i;
    ngx_array_t    *rules;
    access_rule_t  *rule;

#if (NGX_HAVE_INET6)
    if (family == AF_INET6) {
        return access_rules6(conf);
    }
#endif

    rules = (ngx_array_t *) set_member(conf, 0);

    if (rules == NULL) {
        return ACCESS_NONE;
    }

    if (rules->size != sizeof(access_rule_t)) {
        /* another structure: it is not doubted */
        return ACCESS_DENY;
    }

    rule = rules->elts;

    for (i = 0; i < rules->nelts; i++) {
        if (rule[i].mask == 0) {
            return rule[i].deny ? ACCESS_DENY : ACCESS_ALLOW;
        }
    }

    return ACCESS_PART;
}


#if (NGX_HAVE_INET6)

static access_e
access_rules6(uintptr_t *conf)
{
    ngx_uint_t       i;
    ngx_array_t     *rules;
    access_rule6_t  *rule;

    rules = (ngx_array_t *) set_member(conf, 1);

    if (rules == NULL) {
        return ACCESS_NONE;
    }

    if (rules->size != sizeof(access_rule6_t)) {
        return ACCESS_DENY;
    }

    rule = rules->elts;

    for (i = 0; i < rules->nelts; i++) {
        if (IN6_IS_ADDR_UNSPECIFIED(&rule[i].mask)) {
            return rule[i].deny ? ACCESS_DENY : ACCESS_ALLOW;
        }
    }

    return ACCESS_PART;
}

#endif


/* The realm "off" turns it off; what a variable says is not known.  Without a
 * file, the second member, nobody is asked. */

static ngx_uint_t
has_password(uintptr_t *conf)
{
    ngx_http_complex_value_t  *realm;

    realm = (ngx_http_complex_value_t *) set_member(conf, 0);

    return realm && set_member(conf, 1)
           && (realm->lengths || realm->value.len != 3
               || ngx_strncmp(realm->value.data, "off", 3) != 0);
}


/* Reads the code that ngx_http_rewrite_module runs for each request, see
 * ngx_http_script.h.  Conditions and patterns count as false. */

const char *
fanout_conf_diverted(ngx_conf_t *cf, void **loc_conf, ngx_uint_t server)
{
    size_t                         size;
    u_char                        *p, *last;
    ngx_array_t                   *codes;
    const char                    *name;
    ngx_http_script_code_pt        code;
#if (NGX_PCRE)
    ngx_http_script_regex_code_t  *regex;
#endif

    codes = (ngx_array_t *) set_member(find_conf(cf, loc_conf,
                                                 "ngx_http_rewrite_module"),
                                       0);

    if (codes == NULL || codes->size != 1) {
        return NULL;
    }

    p = codes->elts;
    last = p + codes->nelts;
    name = NULL;

    while ((size_t) (last - p) >= sizeof(uintptr_t)) {

        code = *(ngx_http_script_code_pt *) p;

        if (code == NULL) {
            break;
        }

        if (code == ngx_http_script_return_code) {
            return "return";
        }

        if (code == ngx_http_script_break_code) {
            return NULL;
        }

#if (NGX_PCRE)
        if (code == ngx_http_script_regex_start_code) {
            regex = (ngx_http_script_regex_code_t *) p;

            if (regex->uri && matches_all(&regex->name)) {

                if (regex->break_cycle) {
                    return NULL;
                }

                name = "rewrite";
            }
        }
#endif

        size = code_size(p);

        if (size == 0 || size > (size_t) (last - p)) {
            break;
        }

        if (name == NULL && may_leave(p, size, server)) {
            return NULL;
        }

        p += size;
    }

    return name;
}


/* Whether some requests get past what follows this code, to the handler: by
 * "break" in a condition, or a rewrite that not all requests meet, which keeps
 * them in the location, or in a server sends them to any. */

static ngx_uint_t
may_leave(u_char *p, size_t size, ngx_uint_t server)
{
    u_char                   *last;
    ngx_http_script_code_pt   code;

    code = *(ngx_http_script_code_pt *) p;

#if (NGX_PCRE)
    if (code == ngx_http_script_regex_start_code) {
        return is_kept(p, size, server);
    }
#endif

    if (code != ngx_http_script_if_code) {
        return 0;
    }

    last = p + size;

    for (p += sizeof(uintptr_t);
         (size_t) (last - p) >= sizeof(uintptr_t);
         p += sizeof(uintptr_t))
    {
        code = *(ngx_http_script_code_pt *) p;

        if (code == ngx_http_script_break_code) {
            return 1;
        }

#if (NGX_PCRE)
        if (code == ngx_http_script_regex_start_code
            && is_kept(p, last - p, server))
        {
            return 1;
        }
#endif
    }

    return 0;
}


#if (NGX_PCRE)

static ngx_uint_t
is_kept(u_char *p, size_t size, ngx_uint_t server)
{
    ngx_http_script_regex_code_t  *regex;

    regex = (ngx_http_script_regex_code_t *) p;

    return size >= sizeof(ngx_http_script_regex_code_t)
           && regex->uri && !regex->redirect
           && (server || regex->break_cycle);
}

#endif


/* Codes that are not known here, as those without operands, are taken for a
 * word: the next one that is known has its address. */

static size_t
code_size(u_char *p)
{
    ngx_uint_t                    i;
    ngx_http_script_code_pt       code;
    ngx_http_script_copy_code_t  *copy;

    static const struct {
        ngx_http_script_code_pt   code;
        size_t                    size;
    } sizes[] = {
        { ngx_http_script_value_code, sizeof(ngx_http_script_value_code_t) },
        { ngx_http_script_complex_value_code,
          sizeof(ngx_http_script_complex_value_code_t) },
        { ngx_http_script_var_code, sizeof(ngx_http_script_var_code_t) },
        { ngx_http_script_copy_var_code, sizeof(ngx_http_script_var_code_t) },
        { ngx_http_script_set_var_code, sizeof(ngx_http_script_var_code_t) },
        { ngx_http_script_var_set_handler_code,
          sizeof(ngx_http_script_var_handler_code_t) },
        { ngx_http_script_file_code, sizeof(ngx_http_script_file_code_t) }
    };

    code = *(ngx_http_script_code_pt *) p;

    for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        if (code == sizes[i].code) {
            return sizes[i].size;
        }
    }

    if (code == ngx_http_script_copy_code) {
        copy = (ngx_http_script_copy_code_t *) p;
        return ngx_align(sizeof(ngx_http_script_copy_code_t) + copy->len,
                         sizeof(uintptr_t));
    }

    if (code == ngx_http_script_if_code) {
        return ((ngx_http_script_if_code_t *) p)->next;
    }

#if (NGX_PCRE)
    if (code == ngx_http_script_copy_capture_code) {
        return sizeof(ngx_http_script_copy_capture_code_t);
    }

    if (code == ngx_http_script_regex_start_code) {
        return ((ngx_http_script_regex_code_t *) p)->next;
    }
#endif

    return sizeof(uintptr_t);
}


#if (NGX_PCRE)

/* those that are written most */

static ngx_uint_t
matches_all(ngx_str_t *regex)
{
    const char  **p;

    static const char  *all[] = {
        "^", "^/", ".*", "^.*", "^.*$", "(.*)", "^(.*)", "^(.*)$", "^/(.*)",
        "^/(.*)$", "^/.*$", NULL
    };

    for (p = all; *p; p++) {
        if (ngx_strlen(*p) == regex->len
            && ngx_strncmp(*p, regex->data, regex->len) == 0)
        {
            return 1;
        }
    }

    return 0;
}

#endif
