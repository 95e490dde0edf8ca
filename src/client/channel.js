/*
 * One channel of a hub, shared by all that use it: joined while somebody does,
 * its position, messages, and parts (presence, records, ...), which see the
 * replies to joins and what is told.
 *
 * States: idle (nobody uses it), joining (also while there is no connection),
 * joined, failed (see .error; tried again with the next connection or token).
 *
 * Events: "message"; "state"; "error"; "signal"; and "lost" with {reason}, when
 * messages are missing:
 *
 *   gap          it was too slow: {from, to}
 *   unrecovered  what came since the position is not kept any more
 *   reset        the channel begins anew: {why}
 *
 * Then the application reads again what its messages are about. Members,
 * records and locks are read again by the client.
 */

import { Emitter } from "./emitter.js";
import { FanoutError, isPassing, tokenError } from "./errors.js";
import { Messages } from "./messages.js";

const JOINS = ["history", "events", "want", "key", "anonymous", "every",
               "echo"];

export class Channel extends Emitter {
    state = "idle";
    error;
    position;                       /* {epoch, offset}, of the last entry */

    #hub;
    #options = {};
    #users = 0;
    #lease = 0;                     /* users of before leave() are none */
    #parts = [];
    #idle;
    #retry;
    #asked;                         /* options that the join had */
    #round = 0;
    #tries = 0;
    #waiting = [];                  /* join()s */

    /* hub has what a channel needs of it: see hub.js */

    constructor(hub, name, parts) {
        super();
        this.#hub = hub;
        this.name = name;
        this.#parts = parts.map((make) => make(this, hub));
    }

    get joined() {
        return this.state === "joined";
    }

    get key() {
        return this.#options.key;
    }

    get users() {
        return this.#users;
    }

    /* Options of a join. Those that are given replace the older ones. */

    configure(options) {
        const before = JSON.stringify(this.#options);
        const { presence, since, ...others } = options;
        const after = { ...this.#options, ...others };
        const { token } = this.#options;

        if (JSON.stringify(after) !== before
            || typeof after.token !== typeof token)
        {
            this.#options = after;

        } else {                        /* a function: for the next join */
            this.#options.token = after.token;
        }

        if (since) {
            this.position ??= { ...since };
        }

        if (presence !== undefined) {
            this.presence.enter(presence);
        }

        if (this.joined && this.#asked !== this.#options) {
            this.#join();
        }

        return this;
    }

    /*
     * Uses the channel until the function that is returned is called. What
     * nobody uses for a while is left.
     */

    use() {
        const lease = this.#lease;
        let ended = false;

        if (++this.#users === 1) {
            this.#hub.host.clearTimeout(this.#idle);

            if (this.state === "idle" || this.state === "failed") {
                this.#join();
            }
        }

        return () => {
            if (!ended && lease === this.#lease) {
                ended = true;

                if (--this.#users === 0) {
                    this.#rest();
                }
            }
        };
    }

    /* A listener is a user, but for those that only watch states. */

    on(event, listener) {
        const off = super.on(event, listener);
        const watches = event === "state" || event === "error";
        const end = watches ? () => {} : this.use();

        return () => {
            off();
            end();
        };
    }

    /* Resolves when it is joined; rejects if it can't be. It is a user. */

    join() {
        this.use();

        if (this.joined) {
            return Promise.resolve(this);
        }

        return this.#quiet(new Promise((resolve, reject) => {
            this.#waiting.push({ resolve, reject });
        }));
    }

    /* Leaves at once, whoever uses it. Listeners stay, and hear nothing. */

    leave() {
        const told = this.state !== "idle"
            && this.#hub.connection.send({ op: "leave", channel: this.name });

        this.#users = 0;
        this.#lease++;
        this.#stop("idle");

        return told;
    }

    /* The messages from now on, and those of the first reply. */

    [Symbol.asyncIterator]() {
        return new Messages(this);
    }

    /*
     * options: event, key, to, meta, enc, if, store, echo, live, as in
     * docs/protocol.md#publish. Returns a Sending, see queue.js.
     */

    publish(data, options) {
        return this.#hub.queue.add({
            op: "publish", channel: this.name, data, ...options,
        });
    }

    /* {messages, next, recovered, ...}: docs/protocol.md#history */

    async history(options) {
        const reply = await this.#hub.connection.request({
            op: "history", channel: this.name, ...options,
        });

        reply.messages = [...reply.parts, reply].flatMap((r) => r.messages)
            .map((m) => this.#message(m));

        return reply;
    }

    /* From the hub: there is a connection, or a new token. */

    connected() {
        this.#tries = 0;

        if (this.#users || this.state !== "idle") {
            this.#join();
        }
    }

    disconnected() {
        this.#round++;
        this.#hub.host.clearTimeout(this.#retry);

        if (this.state !== "idle") {
            this.#enter("joining");
        }
    }

    closed(error) {
        this.#stop("idle", error);
    }

    /* From the hub: a frame with the name of this channel. */

    told(f) {
        if (f.state) {
            if (f.state.messages) {
                this.#arrive(f.state);

            } else {
                this.#each("arrived", f.state, [...f.state.parts, f.state]);
            }

            return;
        }

        if (f.left) {
            if (f.left.reason === "intentional") {      /* what it asked for */
                return;
            }

            this.#fail(new FanoutError(f.left.reason, "the server ended it"));
            return;
        }

        if (f.expiring) {
            this.#join();
            return;
        }

        if (f.reset) {
            this.position = { epoch: f.reset.epoch, offset: 0 };
            this.#lost({ reason: "reset", why: f.reset.reason });
            return;
        }

        if (f.gap) {
            if (f.gap.of) {
                this.#each("lost", f.gap.of);

            } else {
                this.#gap(f.gap);
                this.#each("lost");
            }

            return;
        }

        if (f.offset !== undefined) {
            if (this.position) {
                if (f.offset <= this.position.offset) {
                    return;
                }

                this.position.offset = f.offset;
            }

            this.#hub.synced();
        }

        this.#entry(f);
    }

    /* A command of a part; f(reply, parts) is called if it is still joined. */

    async read(command, f) {
        const round = this.#round;

        try {
            await this.#hub.connection.request(
                { channel: this.name, ...command },
                (reply) => round === this.#round
                           && f?.(reply, [...reply.parts, reply]));

        } catch (e) {
            if (e.code !== "disconnected" && round === this.#round) {
                this.emit("error", e);
            }
        }
    }

    #entry(f) {
        if (this.#parts.some((part) => part.told && part.told(f))) {
            return;
        }

        if (f.signal !== undefined) {
            this.emit("signal", f);

        } else if ("data" in f) {
            const message = this.#message(f);

            this.#hub.queue.seen(this, message);
            this.emit("message", message);
        }
    }

    #message(f) {
        const message = { ...f, channel: this.name };

        if (f.enc === "base64") {
            message.data = Uint8Array.from(atob(f.data),
                                           (c) => c.charCodeAt(0));
        }

        return message;
    }

    #gap({ from, to }) {
        this.emit("lost", { reason: "gap", from, to });
    }

    #lost(what) {
        this.emit("lost", what);
        this.#each("lost");
    }

    #each(what, ...args) {
        for (const part of this.#parts) {
            part[what]?.(...args);
        }
    }

    async #join() {
        const { host, connection } = this.#hub;
        const round = ++this.#round;

        host.clearTimeout(this.#retry);

        if (!this.joined) {
            this.#enter("joining");
        }

        if (!connection.connected || round !== this.#round) {
            return;
        }

        try {
            this.#asked = this.#options;

            const command = await this.#command();

            if (round !== this.#round) {
                return;
            }

            await connection.request(
                command, (reply) => round === this.#round
                                    && this.#arrive(reply));

        } catch (e) {
            if (round === this.#round && e.code !== "disconnected") {
                this.#refused(e);
            }
        }
    }

    async #command() {
        const { token } = this.#options;
        const command = { op: "join", channel: this.name };

        for (const name of JOINS) {
            if (this.#options[name] !== undefined) {
                command[name] = this.#options[name];
            }
        }

        if (token) {
            command.token = typeof token !== "function" ? token
                : await Promise.resolve(this.name).then(token)
                    .catch((e) => { throw tokenError(e); });
        }

        if (this.position) {
            command.since = this.position;
        }

        this.#each("join", command);

        return command;
    }

    #arrive(reply) {
        const parts = [...reply.parts, reply];
        const before = this.position;

        this.#tries = 0;
        this.position = { epoch: reply.epoch, offset: reply.offset };

        if (reply.recovered === false) {
            this.emit("lost", { reason: "unrecovered",
                                missed: reply.missed });
        }

        this.#each("arrived", reply, parts);

        const fresh = !before || before.epoch !== reply.epoch
                      || reply.recovered === false;

        for (const part of parts) {
            if (part.gap) {
                this.#gap(part.gap);
            }

            for (const m of part.messages || []) {
                if (fresh || m.offset > before.offset) {
                    this.#entry(m);
                }
            }
        }

        this.#enter("joined");
        this.#hub.synced();
        this.#waiting.splice(0).forEach(({ resolve }) => resolve(this));

        if (this.joined && this.#asked !== this.#options) {
            this.#join();                   /* they have changed meanwhile */
        }
    }

    #refused(error) {
        const { host, connection } = this.#hub;

        if (error.code === "too_many" && error.data?.limit === "channels"
            && this.#hub.makeRoom(this))
        {
            this.#join();
            return;
        }

        if (!isPassing(error) || connection.state === "closed") {
            this.#fail(error);
            return;
        }

        const wait = error.data?.retry_after
            ?? Math.min(30000, 1000 * 2 ** this.#tries) * host.random();

        this.#tries = Math.min(this.#tries + 1, 10);
        this.#retry = host.setTimeout(() => this.#join(),
                                      Math.min(wait, 60000));
    }

    #fail(error) {
        this.#round++;
        this.error = error;
        this.#enter("failed");
        this.#each("ended");
        this.#waiting.splice(0).forEach(({ reject }) => reject(error));
        this.emit("error", error);
    }

    #rest() {
        const { host, options } = this.#hub;

        host.clearTimeout(this.#idle);
        this.#idle = host.setTimeout(() => {
            if (!this.#users) {
                this.leave();
            }
        }, options.idle);
    }

    #stop(state, error = new FanoutError("closed")) {
        const { host } = this.#hub;

        this.#round++;
        this.position = undefined;
        host.clearTimeout(this.#idle);
        host.clearTimeout(this.#retry);
        this.#enter(state);
        this.#each("ended");
        this.#waiting.splice(0).forEach(({ reject }) => reject(error));
    }

    #enter(state) {
        if (state !== "failed") {
            this.error = undefined;
        }

        if (this.state !== state) {
            this.state = state;
            this.emit("state", { state, error: this.error });
            this.#hub.queue.flush();
        }
    }

    #quiet(promise) {
        promise.catch(() => {});

        return promise;
    }
}
