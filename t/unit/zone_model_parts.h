/*
 * What the files of the model of channels share.
 */


#ifndef _ZONE_MODEL_PARTS_H_INCLUDED_
#define _ZONE_MODEL_PARTS_H_INCLUDED_


#include "zone_model.h"


/* zone_model.c */

int m_opened(model_t *m, unsigned i);
void m_compose(message_t *msg, uint8_t *buf, uint32_t seed, uint32_t len);
void m_drop(m_channel_t *ch);
uint32_t m_kept(m_channel_t *ch, uint64_t *bytes);
void m_expire(m_channel_t *ch);
void m_limit(m_channel_t *ch);
m_rec_t *m_push(m_channel_t *ch);
int m_renew(model_t *m, unsigned i, uint64_t epoch, unsigned h);
int m_compare(model_t *m, entry_t *e, m_rec_t *r, uint64_t epoch);


/* zone_model_publish.c */

int m_publish(model_t *m, unsigned n);
int m_skip(model_t *m, m_channel_t *ch, uint32_t *pos, entry_t *e);
int m_signal(model_t *m);
void m_signals_forget(model_t *m, unsigned h, unsigned i);
int m_signal_told(model_t *m, unsigned h, entry_t *e);
int m_signals_told(model_t *m, unsigned h, unsigned i);
int m_direct(model_t *m);


/* zone_model_read.c */

int m_drain(model_t *m, unsigned h);
int m_sync(model_t *m, unsigned h, unsigned i);
int m_seek(model_t *m);
int m_join(model_t *m);


#endif /* _ZONE_MODEL_PARTS_H_INCLUDED_ */
