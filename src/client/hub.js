/*
 * What an application has one of: a connection, its channels by name, and the
 * queue. See docs/client.md.
 *
 * Events: "state" with {state, reason}, see connection.js; "error" with an
 * error that no call of the application can be told; "storage" with what a
 * storage threw; "sync" with {channel, received, done}, see connection.js.
 */

import { Channel } from "./channel.js";
import { Connection } from "./connection.js";
import { Emitter } from "./emitter.js";
import { FanoutError } from "./errors.js";
import { hostOf } from "./host.js";
import { Presence } from "./presence.js";
import { Queue } from "./queue.js";
import { websocket } from "./transports/websocket.js";

const IDLE = 300000;                /* ms until an unused channel is left */

export class Fanout extends Emitter {
    lastSynced;                     /* ms of this host: the last entry */

    #channels = new Map();
    #parts;

    /*
     * options, all of them optional:
     *
     *   token      a text, or a function that returns one, or a promise of it
     *   tokenBy    "command": the server has fanout_jwt from=command
     *   use        features: transports and parts of channels, as in core.js
     *   storage    for the queue: an object like localStorage, or null
     *   queue      {limit: 50, full: "refuse" or "drop-oldest"}
     *   backoff    {base: 500, max: 30000}, in ms
     *   idle       ms until an unused channel is left
     *   connect    false: not before connect()
     *   WebSocket, fetch  where the platform has none
     *   host       for tests: see host.js
     */

    constructor(url, options = {}) {
        super();

        const { WebSocket, fetch, use = [] } = options;

        this.host = hostOf({ ...WebSocket && { WebSocket },
                             ...fetch && { fetch }, ...options.host });
        this.options = {
            idle: IDLE,
            ...options,
            transports: [websocket, ...use.filter((f) => f.open)],
            backoff: { base: 500, max: 30000, ...options.backoff },
            queue: { limit: 50, full: "refuse", ...options.queue },
        };
        this.#parts = [(...args) => new Presence(...args),
                       ...use.flatMap((f) => f.part || [])];
        this.connection = new Connection(url, this.options, this.host);
        this.url = this.connection.url;
        this.queue = new Queue(this);
        this.#wire();
    }

    get state() { return this.connection.state; }
    get reason() { return this.connection.reason; }
    get connected() { return this.connection.connected; }
    get client() { return this.connection.client; }
    get user() { return this.connection.user; }
    get limits() { return this.connection.limits; }
    get transport() { return this.connection.transport; }
    get rtt() { return this.connection.rtt; }

    /* Unix ms of the server. */

    serverTime() { return this.connection.serverTime(); }

    connect() { this.connection.open(); }
    reconnect() { this.connection.reconnect(); }

    /* The end: members leave at once, what waits in the queue fails. */

    close() { this.connection.close(new FanoutError("closed")); }

    /* The channel of that name, the same for all who ask. */

    channel(name, options = {}) {
        let channel = this.#channels.get(name);

        if (!channel) {
            channel = new Channel(this, name, this.#parts);
            this.#channels.set(name, channel);
        }

        return channel.configure(options);
    }

    /* For channels. */

    isJoining(name) {
        return this.#channels.get(name)?.state === "joining";
    }

    synced() {
        this.lastSynced = this.host.now();
    }

    /* Leaves a channel that nobody uses. False if there is none. */

    makeRoom(but) {
        for (const channel of this.#channels.values()) {
            if (channel !== but && channel.joined && !channel.users) {
                channel.leave();
                return true;
            }
        }

        return false;
    }

    #wire() {
        const { connection, queue } = this;
        const each = (f) => [...this.#channels.values()].forEach(f);

        for (const event of ["error", "sync"]) {
            connection.on(event, (value) => this.emit(event, value));
        }

        connection.on("token", () => each((c) => c.error && c.connected()));
        connection.on("frame", (f) => {
            this.#channels.get(f.channel)?.told(f);
        });

        connection.on("welcome", ({ client }) => {
            if (client) {
                queue.connected(connection.user);

            } else {
                queue.flush();
            }
        });

        connection.on("state", (change) => {
            if (change.state === "connected") {
                each((c) => c.connected());

            } else if (change.state === "closed") {
                each((c) => c.closed(change.reason));
                queue.closed(change.reason || new FanoutError("closed"));

            } else {
                each((c) => c.disconnected());
            }

            this.emit("state", change);
        });

        this.host.listen({ pagehide: () => queue.release(),
                           freeze: () => queue.release() });
    }
}
