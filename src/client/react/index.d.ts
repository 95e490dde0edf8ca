import type { Channel, Fanout, LiveRecord, Member } from "../core.js";
import type { LiveChannel, LiveFields, LiveOptions, Publish, SetFields }
    from "../live.js";

export function useChannel<T = any>(
    hub: Fanout, name: string, options?: LiveOptions,
): LiveChannel<T> & { channel: Channel<T>; publish: Publish<T> };

export function usePresence(
    hub: Fanout, name: string, data?: unknown): Member[];

export function useRecord<F extends object = any>(
    hub: Fanout, name: string, id: string,
): LiveFields<F> & { record: LiveRecord<F>; set: SetFields<F> };
