/*
 * Commands that are not to be lost: publishes, and changes of records. They
 * are sent in order, channel by channel; each has a key, so that the server
 * does one that is sent again only once.
 *
 * On each channel one burst is on its way at a time. What waits meanwhile goes
 * in the next, as one publish of several messages, which the server appends all
 * or not at all: so no message overtakes another that was refused for a moment.
 *
 * A command fails at once with an error that sending it again does not change,
 * and after TRIES answers of the other kind. Time without a connection is no
 * try. The most that waits is options.queue.limit without a connection, and
 * LIVE with one.
 *
 * What waits is kept in a storage as with localStorage's interface, under a
 * name of this tab alone. Another tab takes it over when this one is gone, and
 * sends only what is of the same user. A storage that fails is told by the
 * event "storage" of the hub, and the queue goes on in memory.
 *
 * Events: "change" with the size, "settled" with a Sending that is done.
 */

import { Emitter } from "./emitter.js";
import { FanoutError, isPassing } from "./errors.js";
import { byteLength, randomKey } from "./host.js";

const TRIES = 5;                    /* answers */
const CUTS = 20;                    /* connections that ended meanwhile */
const LIVE = 1000;
const PAUSE = 1000;                 /* ms after the first answer, doubled */
const BEAT = 20000;                 /* ms between signs of life */
const OLD = 604800000;              /* ms, then it is thrown away */
const GONE = 65000;                 /* ms without one: the tab is gone */

const ALONE = ["to", "if", "store", "echo", "live"];

/*
 * What add() returns: a command on its way. state is queued, sending, sent or
 * failed, told by "state"; then result is the server's reply, or error says
 * why. await it for the result. An error that nobody awaits stays quiet.
 */

export class Sending extends Emitter {
    state = "queued";
    result;
    error;

    #queue;
    #resolve;
    #reject;
    #done;

    constructor(queue, command) {
        super();
        this.#queue = queue;
        this.command = command;
        this.tries = 0;
        this.cuts = 0;
        this.#renew();
    }

    get key() { return this.command.key; }
    get done() { return this.#done; }

    then(...args) { return this.#done.then(...args); }
    catch(f) { return this.#done.catch(f); }
    finally(f) { return this.#done.finally(f); }

    /* Of one that failed: once more, behind the others. */

    retry() {
        if (this.state === "failed") {
            this.tries = this.cuts = 0;
            this.error = undefined;
            this.#renew();
            this.#queue.put(this);
        }

        return this;
    }

    /* From the queue. */

    enter(state, value) {
        if (this.state === state) {
            return;
        }

        this.state = state;

        if (state === "sent") {
            this.result = value;
            this.#resolve(value);

        } else if (state === "failed") {
            this.error = value;
            this.#reject(value);
        }

        this.emit("state", this);
    }

    #renew() {
        this.#done = new Promise((resolve, reject) => {
            this.#resolve = resolve;
            this.#reject = reject;
        });
        this.#done.catch(() => {});
    }
}

function stored({ command, commands, user, group, cuts, state }) {
    return { command, commands, user, group,
             cuts: cuts + (state === "sending" ? 1 : 0) };
}

/* The first commands that are no publishes, one of each record. */

function changes(items) {
    const seen = new Set();
    const burst = [];

    for (const item of items) {
        const { op, record } = item.command;

        if (op === "publish" || seen.has(record) || burst.length >= 64) {
            break;
        }

        seen.add(record);
        burst.push(item);
    }

    return burst;
}

export class Queue extends Emitter {
    items = [];                     /* Sendings that wait, oldest first */

    #hub;
    #lanes = new Map();             /* channel: {burst, timer} */
    #storage;
    #name;
    #saving = false;
    #saved = false;                 /* something is in the storage */
    #flushing = false;
    #beat;

    constructor(hub) {
        super();

        const { storage } = hub.options;

        this.#hub = hub;
        this.#storage = storage === undefined ? hub.host.local : storage;
        this.#name = "fanout.queue:" + hub.url + ":" + randomKey();
    }

    get size() {
        return this.items.length;
    }

    has(key) {
        return this.items.some((item) => item.key === key);
    }

    /* Adds a command with a channel. Its key is kept, or made. */

    add(command) {
        const { connection, options } = this.#hub;
        const { limit, full } = options.queue;
        const item = new Sending(this, { ...command });
        const most = connection.connected ? Math.max(LIVE, limit) : limit;
        const max = connection.limits.message;

        item.command.key ??= randomKey();
        item.user = connection.user;
        item.known = connection.client !== undefined;

        if (connection.state === "closed" && connection.reason) {
            item.enter("failed", connection.reason);

        } else if (max
                   && byteLength(JSON.stringify(command.data) || "") > max)
        {
            item.enter("failed", new FanoutError(
                "too_large", "more than the server takes",
                { limit: "message", max }));

        } else if (this.size >= most && full !== "drop-oldest") {
            item.enter("failed", new FanoutError(
                "queue_full", most + " wait already", { max: most }));

        } else {
            if (this.size >= most) {
                this.#dropOldest(most);
            }

            this.put(item);
        }

        return item;
    }

    put(item) {
        item.enter("queued");
        this.items.push(item);
        this.#changed();
        this.#soon();
    }

    /* Sends what can be sent now. */

    flush() {
        if (!this.#hub.connection.connected) {
            return;
        }

        const lanes = new Set(this.items.map((i) => i.command.channel));

        for (const name of lanes) {
            const lane = this.#lane(name);

            if (!lane.burst && !lane.timer && !this.#hub.isJoining(name)) {
                this.#send(name, lane);
            }
        }
    }

    /* A message of the log: of ours, that its reply did not reach, perhaps. */

    seen(channel, { key, offset, time }) {
        if (key === undefined) {
            return;
        }

        const item = this.items.find(
            (i) => i.key === key && i.command.op === "publish"
                   && i.command.channel === channel.name);

        if (item && item.cuts) {
            this.#settle(item, "sent", {
                epoch: channel.position.epoch, offset, time,
            });
        }
    }

    /* From the hub: it is connected, as that user. */

    connected(user) {
        const taken = this.#taken();

        for (const item of [...this.items]) {
            if (taken) {
                this.#settle(item, "failed", new FanoutError(
                    "closed", "another tab has taken it over"));

            } else if (item.known && item.user !== user) {
                this.#settle(item, "failed", new FanoutError(
                    "forbidden", "it is of another user"));

            } else {
                Object.assign(item, { user, known: true });
            }
        }

        this.#adopt(user);
        this.flush();
    }

    /* From the hub: it is closed for good. */

    closed(error) {
        for (const lane of this.#lanes.values()) {
            this.#hub.host.clearTimeout(lane.timer);
        }

        this.#lanes.clear();
        [...this.items].forEach((item) => this.#settle(item, "failed", error));
        this.#hub.host.clearTimeout(this.#beat);
    }

    /* From the hub: the page goes. Others may take what waits. */

    release() {
        this.#save(true);
    }

    #lane(name) {
        if (!this.#lanes.has(name)) {
            this.#lanes.set(name, {});
        }

        return this.#lanes.get(name);
    }

    /* After all that is added in this turn. */

    #soon() {
        if (this.#flushing) {
            return;
        }

        this.#flushing = true;
        Promise.resolve().then(() => {
            this.#flushing = false;
            this.flush();
        });
    }

    async #send(name, lane) {
        const burst = this.#burst(name);
        const [first] = burst;
        let command = first.command;

        if (command.op !== "publish") {
            this.#sendEach(name, lane, burst);
            return;
        }

        if (burst.length > 1) {
            command = {
                op: "publish", channel: name, key: first.group.key,
                messages: burst.map((item) => {
                    const { op, channel, ...message } = item.command;

                    return message;
                }),
            };
        }

        lane.burst = burst;
        burst.forEach((item) => item.enter("sending"));
        this.#changed();

        try {
            const { parts, ...ok }
                = await this.#hub.connection.request(command);

            lane.burst = undefined;
            lane.pause = 0;

            burst.forEach((item, i) => this.#settle(item, "sent", {
                ...ok,
                ...ok.offset !== undefined && burst.length > 1
                    && { offset: ok.offset - burst.length + 1 + i },
            }));

        } catch (error) {
            lane.burst = undefined;
            this.#failed(lane, burst, error);
        }

        this.#next(name, lane);
    }

    /* Changes of records: each has its own answer. */

    async #sendEach(name, lane, burst) {
        lane.burst = burst;
        burst.forEach((item) => item.enter("sending"));
        this.#changed();

        await Promise.all(burst.map(async (item) => {
            try {
                const ok = await this.#ask(item);

                lane.pause = 0;
                this.#settle(item, "sent", ok);

            } catch (error) {
                this.#failed(lane, [item], error);
            }
        }));

        lane.burst = undefined;
        this.#next(name, lane);
    }

    /*
     * A change may be sent in several commands, see split() of records.js. What
     * was sent once stays as it was.
     */

    async #ask(item) {
        item.commands ??= item.split?.() ?? [item.command];

        const all = await Promise.all(item.commands.map(
            (command) => this.#hub.connection.request(command).then(
                ({ parts, ...ok }) => ok, (error) => ({ error }))));
        const errors = all.map((r) => r.error).filter(Boolean);
        const final = errors.find((e) => e.code !== "conflict");

        if (final || errors.length === all.length) {
            throw final || errors[0];
        }

        return all.reduce((sum, { error, ...ok }) => ({
            ...sum, ...ok,
            ...(error || sum.partial || ok.partial) && {
                partial: true,
                rejected: { ...sum.rejected, ...ok.rejected,
                            ...error?.data?.rejected },
            },
        }), {});
    }

    #next(name, lane) {
        if (this.#lanes.get(name) === lane) {
            if (!lane.timer && !this.items.some(
                (i) => i.command.channel === name))
            {
                this.#lanes.delete(name);
            }

            this.flush();
        }
    }

    /* What goes together: as it went before, or as much as fits. */

    #burst(name) {
        const mine = this.items.filter((i) => i.command.channel === name);
        const { group } = mine[0];

        if (group) {
            return mine.filter((i) => i.group && i.group.key === group.key);
        }

        if (mine[0].command.op !== "publish") {
            return changes(mine);
        }

        const { batch = 64, message = 65536 } = this.#hub.connection.limits;
        const alone = ({ command, single }) => single
            || command.op !== "publish" || ALONE.some((n) => n in command);
        const burst = [];
        let bytes = 256;

        for (const item of mine) {
            bytes += byteLength(JSON.stringify(item.command));

            if (burst.length && (item.group || alone(item) || alone(burst[0])
                || burst.length >= batch || bytes > message))
            {
                break;
            }

            burst.push(item);
        }

        /* it is sent again as it was, or the server would not know it */

        const key = burst.length > 1 ? randomKey() : burst[0].key;

        burst.forEach((item) => item.group = { key });

        return burst;
    }

    #failed(lane, burst, error) {
        const { host } = this.#hub;
        const left = burst.filter((item) => this.items.includes(item));

        if (error.code === "disconnected") {
            for (const item of left) {
                if (++item.cuts >= CUTS) {
                    this.#settle(item, "failed", error);

                } else {
                    item.enter("queued");
                }
            }

            this.#changed();
            return;
        }

        if (!isPassing(error)) {
            for (const item of left) {
                if (burst.length > 1 && error.code !== "forbidden") {
                    item.group = undefined;     /* which of them is it? */
                    item.single = true;
                    item.enter("queued");

                } else {
                    this.#settle(item, "failed", error);
                }
            }

            this.#changed();
            return;
        }

        for (const item of left) {
            if (++item.tries >= TRIES) {
                this.#settle(item, "failed", error);

            } else {
                item.enter("queued");
            }
        }

        lane.pause = Math.min(30000, lane.pause * 2 || PAUSE);

        const wait = error.data?.retry_after ?? lane.pause;

        lane.timer = host.setTimeout(() => {
            lane.timer = undefined;
            this.flush();
        }, Math.min(wait, 60000));

        this.#changed();
    }

    #settle(item, state, value) {
        const at = this.items.indexOf(item);

        if (at >= 0) {
            this.items.splice(at, 1);
        }

        item.enter(state, value);
        this.emit("settled", item);
        this.#changed();
    }

    #dropOldest(most) {
        const item = this.items.find((i) => i.state === "queued");

        this.#settle(item, "failed", new FanoutError(
            "queue_full", "newer ones took its place", { max: most }));
    }

    #changed() {
        if (this.#saving) {
            return;
        }

        this.#saving = true;
        Promise.resolve().then(() => {
            this.#saving = false;
            this.#save(false);
            this.emit("change", this.size);
        });
    }

    #save(gone) {
        const { host } = this.#hub;

        host.clearTimeout(this.#beat);

        if (!this.#storage) {
            return;
        }

        try {
            if (this.size) {
                this.#storage.setItem(this.#name, JSON.stringify({
                    at: host.now(), gone, items: this.items.map(stored),
                }));

            } else if (this.#saved) {
                this.#storage.removeItem(this.#name);
            }

            this.#saved = this.size > 0;

            if (this.#saved && !gone) {
                this.#beat = host.setTimeout(() => this.#save(false), BEAT);
            }

        } catch (e) {
            this.#saved = false;
            this.#hub.emit("storage", e);
        }
    }

    /* Whether another tab believed that this one is gone. */

    #taken() {
        try {
            return this.#saved && this.#storage.getItem(this.#name) === null;

        } catch (e) {
            return false;
        }
    }

    /* Takes over what tabs that are gone have left, if it is of this user. */

    #adopt(user) {
        const storage = this.#storage;
        const prefix = "fanout.queue:" + this.#hub.url + ":";

        if (!storage) {
            return;
        }

        try {
            const names = [];

            for (let i = 0; i < storage.length; i++) {
                names.push(storage.key(i));
            }

            for (const name of names) {
                if (name.startsWith(prefix) && name !== this.#name) {
                    this.#take(name, user);
                }
            }

        } catch (e) {
            this.#hub.emit("storage", e);
        }
    }

    #take(name, user) {
        const storage = this.#storage;
        let left;
        let age;

        try {
            left = JSON.parse(storage.getItem(name));
            age = this.#hub.host.now() - left.at;

            if (!left.gone && age < GONE) {
                return;
            }

            if (!(age < OLD) || !left.items.every(
                ({ command }) => command.op && command.channel))
            {
                throw new Error("no queue, or too old");
            }

        } catch (e) {
            storage.removeItem(name);           /* nobody can read it */
            this.#hub.emit("storage", e);
            return;
        }

        const mine = left.items.filter((i) => i.user === user);

        if (!mine.length) {
            return;
        }

        storage.removeItem(name);

        for (const { command, commands, group, cuts } of mine) {
            const item = new Sending(this, command);

            Object.assign(item, { commands, user, known: true, group, cuts });
            this.items.push(item);
        }

        this.#changed();
    }
}
