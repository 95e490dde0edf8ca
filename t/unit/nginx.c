/*
 * What code of the rooms above zone/ uses of NGINX, as far as unit tests need
 * it: headers of NGINX are at hand, its functions are not.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>


volatile ngx_msec_t  ngx_current_msec;

ngx_queue_t          ngx_posted_events;
ngx_queue_t          ngx_posted_next_events;

static int base64_value(u_char c);

static ngx_log_t     nginx_log;
static ngx_cycle_t   nginx_cycle = { .log = &nginx_log };
volatile ngx_cycle_t  *ngx_cycle = &nginx_cycle;


void
ngx_log_error_core(ngx_uint_t level, ngx_log_t *log, ngx_err_t err,
    const char *fmt, ...)
{
    /* a log of level 0 takes nothing */
    abort();
}


void *
ngx_palloc(ngx_pool_t *pool, size_t size)
{
    return malloc(size ? size : 1);
}


ngx_int_t
ngx_atoi(u_char *line, size_t n)
{
    ngx_int_t  value;

    for (value = 0; n; n--, line++) {
        if (*line < '0' || *line > '9' || value > NGX_MAX_INT_T_VALUE / 10 - 1)
        {
            return NGX_ERROR;
        }

        value = value * 10 + *line - '0';
    }

    return value;
}


u_char * ngx_cdecl
ngx_sprintf(u_char *buf, const char *fmt, ...)
{
    va_list  args;

    va_start(args, fmt);
    buf = ngx_vslprintf(buf, (u_char *) -1, fmt, args);
    va_end(args);

    return buf;
}


u_char * ngx_cdecl
ngx_slprintf(u_char *buf, u_char *last, const char *fmt, ...)
{
    va_list  args;

    va_start(args, fmt);
    buf = ngx_vslprintf(buf, last, fmt, args);
    va_end(args);

    return buf;
}


u_char * ngx_cdecl
ngx_snprintf(u_char *buf, size_t max, const char *fmt, ...)
{
    va_list  args;

    va_start(args, fmt);
    buf = ngx_vslprintf(buf, buf + max, fmt, args);
    va_end(args);

    return buf;
}


/* %xL, %uL, %L, %ui, %d, %s, %*s and %V; anything else ends the test */

u_char *
ngx_vslprintf(u_char *p, u_char *last, const char *fmt, va_list args)
{
    char        number[32];
    ngx_str_t  *s, text;

    for ( /* void */ ; *fmt && p < last; fmt++) {

        if (*fmt != '%') {
            *p++ = *fmt;
            continue;
        }

        text.data = (u_char *) number;
        fmt++;

        if (*fmt == 'V') {
            s = va_arg(args, ngx_str_t *);
            text = *s;

        } else if (*fmt == 's') {
            text.data = va_arg(args, u_char *);
            text.len = strlen((char *) text.data);

        } else if (fmt[0] == '*' && fmt[1] == 's') {
            fmt++;
            text.len = va_arg(args, size_t);
            text.data = va_arg(args, u_char *);

        } else if (*fmt == 'L') {
            text.len = snprintf(number, sizeof(number), "%lld",
                                (long long) va_arg(args, int64_t));

        } else if (*fmt == 'd') {
            text.len = snprintf(number, sizeof(number), "%d",
                                va_arg(args, int));

        } else if (fmt[0] == 'u' && fmt[1] == 'i') {
            fmt++;
            text.len = snprintf(number, sizeof(number), "%lu",
                                (unsigned long) va_arg(args, ngx_uint_t));

        } else if ((fmt[0] == 'x' || fmt[0] == 'u') && fmt[1] == 'L') {
            text.len = snprintf(number, sizeof(number),
                                *fmt == 'x' ? "%llx" : "%llu",
                                (unsigned long long) va_arg(args, uint64_t));
            fmt++;

        } else {
            fprintf(stderr, "no such format: %s\n", fmt);
            abort();
        }

        p = ngx_cpymem(p, text.data, ngx_min(text.len, (size_t) (last - p)));
    }

    return p;
}


/* Trees: ordered as NGINX's, and not balanced. */

void
ngx_rbtree_insert(ngx_rbtree_t *tree, ngx_rbtree_node_t *node)
{
    if (tree->root != tree->sentinel) {
        tree->insert(tree->root, node, tree->sentinel);
        return;
    }

    node->parent = NULL;
    node->left = tree->sentinel;
    node->right = tree->sentinel;
    tree->root = node;
}


void
ngx_rbtree_insert_value(ngx_rbtree_node_t *temp, ngx_rbtree_node_t *node,
    ngx_rbtree_node_t *sentinel)
{
    ngx_rbtree_node_t  **p;

    for ( ;; ) {
        p = node->key < temp->key ? &temp->left : &temp->right;

        if (*p == sentinel) {
            break;
        }

        temp = *p;
    }

    *p = node;
    node->parent = temp;
    node->left = sentinel;
    node->right = sentinel;
}


/* puts a node, or the sentinel, where another is */

static void
replace(ngx_rbtree_t *tree, ngx_rbtree_node_t *old, ngx_rbtree_node_t *node)
{
    if (tree->root == old) {
        tree->root = node;

    } else if (old->parent->left == old) {
        old->parent->left = node;

    } else {
        old->parent->right = node;
    }

    if (node != tree->sentinel) {
        node->parent = tree->root == node ? NULL : old->parent;
    }
}


void
ngx_rbtree_delete(ngx_rbtree_t *tree, ngx_rbtree_node_t *node)
{
    ngx_rbtree_node_t  *next;

    if (node->left == tree->sentinel || node->right == tree->sentinel) {
        replace(tree, node, node->left == tree->sentinel ? node->right
                                                         : node->left);
        return;
    }

    next = ngx_rbtree_min(node->right, tree->sentinel);

    if (next != node->right) {
        replace(tree, next, next->right);
        next->right = node->right;
        next->right->parent = next;
    }

    replace(tree, node, next);
    next->left = node->left;
    next->left->parent = next;
}


ngx_rbtree_node_t *
ngx_rbtree_next(ngx_rbtree_t *tree, ngx_rbtree_node_t *node)
{
    if (node->right != tree->sentinel) {
        return ngx_rbtree_min(node->right, tree->sentinel);
    }

    while (node->parent && node->parent->right == node) {
        node = node->parent;
    }

    return node->parent;
}


static int
base64_value(u_char c)
{
    return c >= 'A' && c <= 'Z' ? c - 'A'
           : c >= 'a' && c <= 'z' ? c - 'a' + 26
           : c >= '0' && c <= '9' ? c - '0' + 52
           : c == '+' ? 62 : c == '/' ? 63 : -1;
}


ngx_int_t
ngx_decode_base64(ngx_str_t *dst, ngx_str_t *src)
{
    u_char    *d;
    size_t     i, len;
    uint32_t   bits;

    for (len = 0; len < src->len && src->data[len] != '='; len++) {
        if (base64_value(src->data[len]) < 0) {
            return NGX_ERROR;
        }
    }

    if (len % 4 == 1) {
        return NGX_ERROR;
    }

    d = dst->data;

    for (bits = 0, i = 0; i < len; i++) {
        bits = bits << 6 | (uint32_t) base64_value(src->data[i]);

        if (i % 4) {
            *d++ = (u_char) (bits >> (6 - i % 4 * 2));
        }
    }

    dst->len = d - dst->data;

    return NGX_OK;
}
