/* What hooks, composables and stores show. */

import type { Conflict, FanoutError, Changed, ChannelOptions, ChannelState,
              Message, PublishOptions, Published, Sending, SetOptions }
    from "./core.js";

export interface LiveOptions extends Omit<ChannelOptions, "presence"> {
    /** how many messages are shown: 100 */
    limit?: number;
}

export interface LiveChannel<T = any> {
    messages: Message<T>[];
    state: ChannelState;
    error?: FanoutError;
}

export interface LiveFields<F extends object = any> {
    fields?: F;
    version: number;
    pending: number;
    conflict?: Conflict & { drop(): void };
}

export type Publish<T> =
    (data: T, options?: PublishOptions) => Sending<Published>;

export type SetFields<F> =
    (fields: Partial<F>, options?: SetOptions) => Sending<Changed>;
