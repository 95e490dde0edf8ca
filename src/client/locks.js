/*
 * Locks (docs/protocol.md#locks).
 *
 * channel.locks is a map of those that somebody holds, by name: {name, holder,
 * expires, mine}; its event "change" has the map.
 *
 * channel.lock(name, {ttl, wait, data}) asks for one, and returns a Lock:
 *
 *   state    waiting   asked, or in the line, or without a connection
 *            held      until release(): it is renewed when half of it is over
 *            lost      it has ended: its time was over, or error says why
 *            failed    somebody else holds it, or error says why
 *            released
 *   token    to send with what it protects
 *
 * await it to hold it; that throws if it failed. A Lock is a user of the
 * channel until it ends. After a break it is still held if the server says so.
 */

import { Emitter } from "./emitter.js";
import { FanoutError, isPassing } from "./errors.js";
import { View } from "./view.js";

const AGAIN = 1000;                 /* ms until a renewal is tried again */

export const locks = {
    name: "locks",
    part: (channel, hub) => new Locks(channel, hub),
};

class Lock extends Emitter {
    state = "waiting";
    token;
    expires;
    error;

    #locks;
    #resolve;
    #reject;
    #done;

    constructor(locks, name, options) {
        super();
        this.#locks = locks;
        this.name = name;
        this.options = options;
        this.#done = new Promise((resolve, reject) => {
            this.#resolve = resolve;
            this.#reject = reject;
        });
        this.#done.catch(() => {});
    }

    get held() { return this.state === "held"; }
    get done() { return this.#done; }

    /* It is held. There is no value: a promise can't give what is one. */

    then(resolved, rejected) {
        return this.#done.then(resolved && (() => resolved()), rejected);
    }

    release() { this.#locks.release(this); }

    enter(state, error) {
        if (this.state === state) {
            return;
        }

        this.state = state;
        this.error = error;

        if (state === "held") {
            this.#resolve();

        } else {
            this.#reject(error || new FanoutError(state));
        }

        this.emit("state", this);
    }
}

class Locks extends View {
    #channel;
    #hub;
    #all;
    #mine = new Map();              /* name: {lock, timer, end, asked} */

    constructor(channel, hub) {
        const all = new Map();

        super(channel, hub.host, all);
        this.#all = all;
        this.#channel = channel;
        this.#hub = hub;
        channel.locks = this;
        channel.lock = (name, options) => this.#take(name, options);
    }

    release(lock) {
        const mine = this.#mine.get(lock.name);

        if (mine?.lock === lock) {
            this.#unlock(lock.name, lock.token);
            this.#end(lock, "released");
        }
    }

    /* From the channel. */

    arrived(reply, parts) {
        if (!reply.locks) {
            if (reply.messages) {           /* of a join: they are unknown */
                [...this.#mine.values()].filter((m) => !m.lock.held)
                    .forEach((m) => this.#ask(m.lock));
            }

            return;
        }

        this.#all.clear();

        for (const part of parts) {
            (part.locks || []).forEach((l) => this.#all.set(l.name, l));
        }

        for (const { lock } of [...this.#mine.values()]) {
            this.#compare(lock, this.get(lock.name));
        }

        for (const [name, { mine, token }] of this.#all) {
            if (mine && !this.#mine.has(name)) {    /* released meanwhile */
                this.#unlock(name, token);
            }
        }

        this.changed();
    }

    told({ lock: l }) {
        if (!l) {
            return false;
        }

        if (l.holder) {
            this.#all.set(l.name, l);

        } else {
            this.#all.delete(l.name);
        }

        const lock = this.#mine.get(l.name)?.lock;

        if (lock?.held && (l.holder?.client !== this.#hub.client)) {
            this.#end(lock, "lost", new FanoutError(l.reason || "lost"));
        }

        this.changed();

        return true;
    }

    lost(of) {
        if (of === undefined || of === "locks") {
            this.#read();
        }
    }

    ended() {
        for (const { lock } of [...this.#mine.values()]) {
            this.#end(lock, lock.held ? "lost" : "failed",
                      this.#channel.error || new FanoutError("closed"));
        }

        this.#all.clear();
        this.changed();
    }

    #take(name, options = {}) {
        const known = this.#mine.get(name);

        if (known) {
            return known.lock;
        }

        const lock = new Lock(this, name, options);

        this.#mine.set(name, { lock, end: this.#channel.use() });

        if (this.#channel.joined) {
            this.#ask(lock);
        }

        return lock;
    }

    /* What the server says of it after a break. */

    #compare(lock, is) {
        if (is?.mine) {
            if (lock.held && is.token !== lock.token) {
                this.#end(lock, "lost");
                this.#unlock(lock.name, is.token);

            } else {
                this.#hold(lock, is);
                this.#ask(lock);
            }

        } else if (lock.held) {
            this.#end(lock, "lost");

        } else {
            this.#ask(lock);
        }
    }

    /* Takes or renews it. */

    async #ask(lock) {
        const mine = this.#mine.get(lock.name);
        const { ttl, wait, data } = lock.options;

        if (!mine || mine.asked) {
            return;
        }

        mine.asked = true;

        try {
            const ok = await this.#hub.connection.request({
                op: "lock", channel: this.#channel.name, name: lock.name,
                ttl, data, wait: lock.held ? undefined : wait,
            });

            mine.asked = false;

            if (this.#mine.get(lock.name) !== mine) {
                this.#unlock(lock.name, ok.token);

            } else if (lock.held && lock.token !== ok.token) {
                this.#unlock(lock.name, ok.token);
                this.#end(lock, "lost");

            } else {
                this.#hold(lock, ok);
            }

        } catch (e) {
            mine.asked = false;
            this.#refused(lock, e);
        }
    }

    #refused(lock, error) {
        const mine = this.#mine.get(lock.name);

        if (mine?.lock !== lock || error.code === "disconnected") {
            return;
        }

        if (isPassing(error) || error.code === "not_joined") {
            this.#timer(lock, error.data?.retry_after ?? AGAIN);

        } else {
            this.#end(lock, lock.held ? "lost" : "failed", error);
        }
    }

    #hold(lock, { token, expires }) {
        lock.token = token;
        lock.expires = expires;
        lock.enter("held");
        this.#timer(lock, (expires - this.#hub.serverTime()) / 2);
    }

    /* When to renew it; when its time is over it is lost. */

    #timer(lock, ms) {
        const { host } = this.#hub;
        const mine = this.#mine.get(lock.name);

        if (!mine) {
            return;
        }

        host.clearTimeout(mine.timer);
        mine.timer = host.setTimeout(() => {
            const left = lock.expires - this.#hub.serverTime();

            if (lock.held && left <= 0) {
                this.#end(lock, "lost", new FanoutError("expired"));
                return;
            }

            if (this.#channel.joined) {
                this.#ask(lock);
            }

            /* the answer comes before, or it is too late */

            this.#timer(lock, lock.held ? left : AGAIN);
        }, Math.max(0, Math.min(ms, 3600000)));
    }

    #end(lock, state, error) {
        const mine = this.#mine.get(lock.name);

        this.#mine.delete(lock.name);
        this.#hub.host.clearTimeout(mine.timer);
        lock.enter(state, error);
        mine.end();
    }

    async #unlock(name, token) {
        try {
            await this.#hub.connection.request({
                op: "unlock", channel: this.#channel.name, name, token,
            });

        } catch (e) {
            /* it has ended, or ends with the connection */
        }
    }

    #read() {
        if (this.#all.size || this.#mine.size) {
            this.#channel.read({ op: "get", locks: true },
                               (...reply) => this.arrived(...reply));
        }
    }
}
