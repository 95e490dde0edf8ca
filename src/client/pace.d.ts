import type { Fanout } from "./core.js";

export type Pace =
    | { after: number; every?: undefined; gather?: undefined }
    | { every: number; gather?: boolean; after?: undefined };

export const paces: {
    readonly [name in "text" | "slider" | "checkbox" | "form" | "analytics"]:
        Pace;
};

export interface Paced<T> {
    (value: T): void;
    /** sends what waits */
    flush(): void;
    /** does so, and ends it */
    stop(): void;
}

export function pace<T = any>(
    hub: Fanout, kind: "analytics" | { every: number; gather: true },
    send: (values: T[]) => unknown): Paced<T>;
export function pace<T = any>(
    hub: Fanout, kind: "text" | "slider" | "checkbox" | "form" | Pace,
    send: (value: T) => unknown): Paced<T>;
