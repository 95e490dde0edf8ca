/*
 * What the parts of zone_crash_test.c share: the zone, its channels, and
 * operations.
 */


#ifndef _ZONE_CRASH_H_INCLUDED_
#define _ZONE_CRASH_H_INCLUDED_


#include "zone_util.h"


#define SIZE       MB
#define STATE_MAX  (256 * 1024)
#define SERIES     1                    /* more than one transaction */
#define AS_PARENT  2                    /* done with the parent's slot */

typedef struct {
    const char  *name;
    void       (*setup)(zone_t *z);     /* in the parent, before all */
    void       (*prepare)(zone_t *z);   /* in the child, not killed */
    int        (*run)(zone_t *z);       /* in the child, killed */
    unsigned     flags;
} op_t;

typedef struct {
    volatile long      points;          /* of an operation that lived */
    volatile int       acked;
    volatile int       rc;
} ack_t;


extern char           *before, *after, *state;
extern void           *mem, *image, *virgin;
extern zone_t          parent;
extern channel_t       rooms[4];
extern arena_t         arena;
extern ack_t          *ack;
extern uint64_t        seed;
extern volatile int    armed;
extern identity_t      heard[12];       /* of direct messages */
extern policy_t        keep;
extern policy_t        few;
extern policy_t        none;
extern policy_t        bytes;
extern const op_t      ops[];
extern const unsigned  nops;


/* zone_crash_test.c */

void arm(long at);


/* zone_crash_state.c */

size_t say_drained(char *s, size_t n, zone_t *z);
void say_state(char *s, zone_t *z);


/* zone_crash_publish.c */

uint32_t address_ref(zone_t *z, uint64_t address);
void setup_some(zone_t *z);
void setup_few(zone_t *z);
void setup_drained(zone_t *z);
void prepare_slot(zone_t *z);
void prepare_readers(zone_t *z);
void prepare_pending(zone_t *z);
int publish_to(zone_t *z, const char *name, policy_t *p, uint32_t len,
    uint8_t flags, const char *key);
int run_publish(zone_t *z);
int run_publish_several(zone_t *z);
int run_publish_large(zone_t *z);
int run_publish_large_batch(zone_t *z);
int run_publish_duplicate(zone_t *z);
void setup_key(zone_t *z);
int run_publish_key(zone_t *z);
int run_publish_transient(zone_t *z);
int run_publish_new(zone_t *z);
int run_publish_nothing_kept(zone_t *z);
int run_publish_limit(zone_t *z);
void setup_limits(zone_t *z);
int run_publish_bytes(zone_t *z);
void setup_full(zone_t *z);
int run_publish_evicting(zone_t *z);
int run_publish_large_evicting(zone_t *z);
int run_purge(zone_t *z);
int run_purge_unread(zone_t *z);
void setup_purged(zone_t *z);
int run_sweep(zone_t *z);
int run_sweep_later(zone_t *z);
void setup_old(zone_t *z);
int run_open(zone_t *z);
int run_open_existing(zone_t *z);
int run_close(zone_t *z);
int run_subscribers(zone_t *z);
int run_drain(zone_t *z);
void setup_large(zone_t *z);
int run_join(zone_t *z);
int run_read(zone_t *z);
void setup_large_kept(zone_t *z);


/* zone_crash_clients.c */

int run_identity_add(zone_t *z);
void setup_identity(zone_t *z);
void setup_lingering(zone_t *z);
int run_identity_resume(zone_t *z);
void setup_again(zone_t *z);
void setup_unproved(zone_t *z);
int run_identity_prove(zone_t *z);
int run_identity_known(zone_t *z);
int run_identity_keep(zone_t *z);
int run_identity_end(zone_t *z);
int run_identity_linger(zone_t *z);
int run_identity_leave(zone_t *z);
void setup_replaced(zone_t *z);
int run_identity_replaced(zone_t *z);
void prepare_attached(zone_t *z);
int run_claim(zone_t *z);
void prepare_much(zone_t *z);
int run_release(zone_t *z);
void setup_dead(zone_t *z);
int run_reap(zone_t *z);
void prepare_addresses(zone_t *z);
int run_address_add(zone_t *z);
int run_address_drop(zone_t *z);
int run_address_last(zone_t *z);
int run_budget(zone_t *z);
void setup_stalled(zone_t *z);


/* zone_crash_mail.c */

void setup_heard(zone_t *z);
void setup_mail(zone_t *z);
void setup_mail_key(zone_t *z);
void setup_mail_shared(zone_t *z);
void setup_mail_shared_live(zone_t *z);
int run_direct(zone_t *z);
int run_direct_shared(zone_t *z);
int run_direct_user(zone_t *z);
int run_direct_large(zone_t *z);
int run_mail_read(zone_t *z);
int run_seat_close(zone_t *z);
void setup_signals(zone_t *z);
void setup_signals_full(zone_t *z);
void setup_full_of_mail(zone_t *z);
int run_signal(zone_t *z);
int run_signal_new(zone_t *z);
void setup_accounts(zone_t *z);
void prepare_newer(zone_t *z);
int run_configure(zone_t *z);
int run_publish_newer(zone_t *z);
int run_account(zone_t *z);
int run_info(zone_t *z);


/* zone_crash_lock.c */

void rebuilt(int rebuilding);
void stranded(void);


/* zone_crash_chaos.c */

void chaos(void);


#endif /* _ZONE_CRASH_H_INCLUDED_ */
