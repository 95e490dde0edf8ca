/* The types of core.js and fanout.js. docs/client.md explains them. */

export class FanoutError extends Error {
    constructor(code: string, message?: string, data?: unknown);
    readonly code: string;
    readonly data?: any;
}

export type Off = () => void;

export type HubState =
    "connecting" | "connected" | "reconnecting" | "suspended" | "closed";

export type Token =
    string | ((why?: "renew") => string | undefined
                                 | Promise<string | undefined>);

/** What localStorage has. */
export interface QueueStorage {
    readonly length: number;
    key(index: number): string | null;
    getItem(name: string): string | null;
    setItem(name: string, value: string): void;
    removeItem(name: string): void;
}

/** A transport, or a part of channels: websocket, sse, records, ... */
export interface Feature {
    readonly name: string;
}

export interface HubOptions {
    token?: Token;
    tokenBy?: "command";
    use?: Feature[];
    storage?: QueueStorage | null;
    queue?: { limit?: number; full?: "refuse" | "drop-oldest" };
    backoff?: { base?: number; max?: number };
    /** ms until a channel that nobody uses is left */
    idle?: number;
    /** false: not before connect() */
    connect?: boolean;
    WebSocket?: unknown;
    fetch?: typeof fetch;
    host?: object;
}

export interface HubEvents {
    state: { state: HubState; reason?: FanoutError };
    error: FanoutError;
    storage: unknown;
    sync: { channel: string; received: number; done: boolean };
}

export class Fanout {
    constructor(url: string | URL, options?: HubOptions);

    readonly state: HubState;
    readonly reason?: FanoutError;
    readonly connected: boolean;
    readonly client?: string;
    readonly user?: string;
    readonly limits: { message?: number; batch?: number; channels?: number;
                       history?: number };
    readonly transport?: string;
    /** ms there and back */
    readonly rtt?: number;
    /** Unix ms of this host */
    readonly lastSynced?: number;
    readonly queue: Queue;

    on<E extends keyof HubEvents>(
        event: E, listener: (value: HubEvents[E]) => unknown): Off;
    channel<T = any>(name: string, options?: ChannelOptions): Channel<T>;
    /** Unix ms of the server */
    serverTime(): number;
    connect(): void;
    reconnect(): void;
    close(): void;
}

export interface Position {
    epoch: string;
    offset: number;
}

export interface From {
    client?: string;
    user?: string;
}

export type To = { client: string } | { user: string };

export interface Message<T = any> {
    channel: string;
    offset: number;
    time: number;
    data: T;
    event?: string;
    key?: string;
    meta?: unknown;
    enc?: "base64";
    from?: From;
    to?: To;
}

export interface Signal {
    channel: string;
    signal: string;
    tag?: string;
    data: any;
    from?: From;
    to?: To;
}

export type Lost =
    | { reason: "gap"; from: number; to: number }
    | { reason: "unrecovered"; missed?: number }
    | { reason: "reset"; why: string };

export type ChannelState = "idle" | "joining" | "joined" | "failed";

export interface ChannelOptions {
    history?: number;
    /** where to begin, if the channel has no position yet */
    since?: Position;
    events?: string[];
    want?: ("messages" | "signals" | "presence" | "records" | "locks")[];
    presence?: unknown;
    key?: string;
    anonymous?: boolean;
    every?: number;
    echo?: boolean;
    token?: string | ((channel: string) => string | Promise<string>);
}

export interface PublishOptions {
    event?: string;
    key?: string;
    to?: To;
    meta?: unknown;
    enc?: "base64";
    if?: Position;
    store?: boolean;
    echo?: boolean;
    live?: boolean;
}

export interface Published extends Position {
    time: number;
    duplicate?: boolean;
    delivered?: number;
    pending?: number;
}

export interface HistoryOptions {
    limit?: number;
    before?: number;
    since?: Position;
    record?: string;
}

export interface History<T = any> extends Position {
    messages: Message<T>[];
    recovered?: boolean;
    next?: number;
}

export interface ChannelEvents<T = any> {
    message: Message<T>;
    signal: Signal;
    lost: Lost;
    state: { state: ChannelState; error?: FanoutError };
    error: FanoutError;
}

export class Channel<T = any> implements AsyncIterable<Message<T>> {
    private constructor();

    readonly name: string;
    readonly state: ChannelState;
    readonly joined: boolean;
    readonly users: number;
    readonly error?: FanoutError;
    readonly position?: Position;
    readonly presence: Presence;
    /** With the feature records */
    readonly records: Records;
    /** With the feature locks */
    readonly locks: Locks;

    on<E extends keyof ChannelEvents>(
        event: E, listener: (value: ChannelEvents<T>[E]) => unknown): Off;
    use(): Off;
    join(): Promise<this>;
    leave(): boolean;
    publish(data: T, options?: PublishOptions): Sending<Published>;
    history(options?: HistoryOptions): Promise<History<T>>;
    /** With the feature records */
    record<F extends object = any>(id: string): LiveRecord<F>;
    /** With the feature locks */
    lock(name: string, options?: LockOptions): Lock;
    /** With the feature signals. False: there is no connection. */
    signal(event: string, data?: unknown, options?: SignalOptions): boolean;
    [Symbol.asyncIterator](): AsyncIterableIterator<Message<T>>;
}

export type SendingState = "queued" | "sending" | "sent" | "failed";

export class Sending<R = any> implements PromiseLike<R> {
    private constructor();

    readonly state: SendingState;
    readonly key: string;
    readonly tries: number;
    readonly result?: R;
    readonly error?: FanoutError;
    readonly done: Promise<R>;

    on(event: "state", listener: (sending: this) => unknown): Off;
    retry(): this;
    then<A = R, B = never>(
        resolved?: ((value: R) => A | PromiseLike<A>) | null,
        rejected?: ((error: any) => B | PromiseLike<B>) | null,
    ): Promise<A | B>;
    catch<B = never>(
        rejected?: ((error: any) => B | PromiseLike<B>) | null,
    ): Promise<R | B>;
    finally(f?: (() => void) | null): Promise<R>;
}

export class Queue {
    private constructor();

    readonly size: number;
    readonly items: readonly Sending[];

    on(event: "change", listener: (size: number) => unknown): Off;
}

export interface Member {
    client: string;
    key?: string;
    user?: string;
    info?: any;
    data?: any;
    state: "active" | "idle";
    joined_at: number;
    seen: number;
    slot: number;
}

export interface PresenceEvents {
    join: Member;
    update: Member;
    leave: Member & { reason: string };
    change: Presence;
}

export class Presence implements Iterable<[string, Member]> {
    private constructor();

    readonly size: number;
    readonly summary?: { members: number };
    readonly me?: Member;

    on<E extends keyof PresenceEvents>(
        event: E, listener: (value: PresenceEvents[E]) => unknown): Off;
    enter(data?: unknown): void;
    /** enter() until all who called it have called what it returned */
    use(data?: unknown): Off;
    setState(state: "active" | "idle"): void;
    leave(): void;
    get(name: string): Member | undefined;
    has(name: string): boolean;
    keys(): IterableIterator<string>;
    values(): IterableIterator<Member>;
    entries(): IterableIterator<[string, Member]>;
    forEach(f: (member: Member, name: string, all: this) => void): void;
    [Symbol.iterator](): IterableIterator<[string, Member]>;
}

export interface SignalOptions {
    tag?: string;
    to?: To;
    /** ms between two, 50 by default */
    every?: number;
}

export interface SetOptions {
    mode?: "merge" | "reject" | "overwrite";
    create?: boolean;
    unset?: string[];
    append?: { [field: string]: unknown[] };
    base?: number;
    key?: string;
    token?: number;
    release?: string;
}

export interface Changed extends Position {
    version: number;
    unchanged?: boolean;
    duplicate?: boolean;
    partial?: boolean;
    rejected?: { [field: string]: Rejected };
}

export interface Rejected {
    value?: any;
    version: number;
    user?: string;
    reason?: "not_array";
}

export interface Conflict {
    fields: { [field: string]: Partial<Rejected> & { mine: any } };
    error?: FanoutError;
    retry(): Sending<Changed>;
}

export interface LiveRecord<F extends object = any> {
    readonly id: string;
    readonly version: number;
    readonly fields?: F;
    readonly pending: number;

    on(event: "change", listener: (record: this) => unknown): Off;
    on(event: "conflict", listener: (conflict: Conflict) => unknown): Off;
    set(fields: Partial<F>, options?: SetOptions): Sending<Changed>;
    append(fields: { [field: string]: unknown[] },
           options?: SetOptions): Sending<Changed>;
    delete(options?: { base?: number; key?: string; token?: number }):
        Sending<Changed>;
}

export interface RecordState {
    version: number;
    fields: any;
}

export interface Records extends Iterable<[string, RecordState]> {
    readonly size: number;

    on(event: "change", listener: (records: this) => unknown): Off;
    get(id: string): RecordState | undefined;
    has(id: string): boolean;
    keys(): IterableIterator<string>;
}

export interface LockOptions {
    /** ms */
    ttl?: number;
    /** ms in the line */
    wait?: number;
    data?: unknown;
}

export type LockState = "waiting" | "held" | "lost" | "failed" | "released";

export interface Lock extends PromiseLike<void> {
    readonly name: string;
    readonly state: LockState;
    readonly held: boolean;
    readonly token?: number;
    /** Unix ms of the server */
    readonly expires?: number;
    readonly error?: FanoutError;
    readonly done: Promise<void>;

    on(event: "state", listener: (lock: this) => unknown): Off;
    release(): void;
}

export interface HeldLock {
    name: string;
    holder: From & { data?: any };
    expires: number;
    mine?: boolean;
}

export interface Locks extends Iterable<[string, HeldLock]> {
    readonly size: number;

    on(event: "change", listener: (locks: this) => unknown): Off;
    get(name: string): HeldLock | undefined;
    has(name: string): boolean;
}

export const websocket: Feature;
export const sse: Feature;
export const poll: Feature;
export const records: Feature;
export const locks: Feature;
export const signals: Feature;
