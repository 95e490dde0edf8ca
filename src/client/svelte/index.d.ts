import type { Fanout, Member } from "../core.js";
import type { LiveChannel, LiveFields, LiveOptions, Publish, SetFields }
    from "../live.js";

export interface Store<T> {
    subscribe(run: (value: T) => void): () => void;
}

export function channelStore<T = any>(
    hub: Fanout, name: string, options?: LiveOptions,
): Store<LiveChannel<T>> & { publish: Publish<T> };

export function presenceStore(
    hub: Fanout, name: string, data?: unknown): Store<Member[]>;

export function recordStore<F extends object = any>(
    hub: Fanout, name: string, id: string,
): Store<LiveFields<F>> & { set: SetFields<F> };
