import type { Fanout, Member } from "../core.js";
import type { LiveChannel, LiveFields, LiveOptions, Publish, SetFields }
    from "../live.js";

/** What Vue calls Ref and MaybeRefOrGetter. */
export interface Shown<T> { readonly value: T }
export type Given<T> = T | Shown<T> | (() => T);
type Refs<T> = { [K in keyof T]-?: Shown<T[K]> };

export function useChannel<T = any>(
    hub: Fanout, name: Given<string>, options?: Given<LiveOptions>,
): Refs<LiveChannel<T>> & { publish: Publish<T> };

export function usePresence(
    hub: Fanout, name: Given<string>, data?: unknown): Shown<Member[]>;

export function useRecord<F extends object = any>(
    hub: Fanout, name: Given<string>, id: Given<string>,
): Refs<LiveFields<F>> & { set: SetFields<F> };
