/*
 * A world for one test of src/client: time that passes when the test says so,
 * and a server that knows joins, publishes with keys, members and pings. A test
 * cuts its connections, makes it late, or has it answer something else:
 *
 *     const world = new World();
 *     const hub = world.hub({ ...options });
 *     await world.pass(1000);
 *     world.server.instead = (command) => ({ error: { code: "busy" } });
 */

import { Fanout } from "../../src/client/fanout.js";

const settle = () => new Promise((done) => setImmediate(done));

export class World {
    now = 1763683200000;
    ahead = 5000;                   /* ms, the server's clock */
    isOnline = true;
    luck = 0.5;
    server = new Server(this);
    listeners = {};
    session = new Storage();
    local = new Storage();

    #timers = [];
    #id = 0;

    host() {
        const world = this;

        return {
            now: () => world.now,
            random: () => world.luck,
            online: () => world.isOnline,
            base: "http://test/page",
            fetch: undefined,
            local: world.local,
            session: world.session,
            WebSocket: class extends Socket {
                constructor(url, protocols) {
                    super(world.server, url, protocols);
                }
            },
            frame: (f) => world.timer(f, 16),
            setTimeout: (f, ms) => world.timer(f, ms),
            clearTimeout: (id) => {
                world.#timers = world.#timers.filter((t) => t.id !== id);
            },
            listen: (listeners) => {
                for (const [event, f] of Object.entries(listeners)) {
                    (world.listeners[event] ??= []).push(f);
                }

                return () => {
                    for (const [event, f] of Object.entries(listeners)) {
                        world.listeners[event] = world.listeners[event]
                            .filter((other) => other !== f);
                    }
                };
            },
        };
    }

    hub(options) {
        return new Fanout("/realtime", { host: this.host(), ...options });
    }

    timer(f, ms) {
        if (!(ms >= 0 && ms <= 86400000)) {
            throw new Error("a timer of " + ms + " ms");
        }

        this.#timers.push({ id: ++this.#id, at: this.now + ms, f });

        return this.#id;
    }

    get timers() {
        return this.#timers.length;
    }

    /* The page tells something. */

    async happens(event, value = {}) {
        (this.listeners[event] || []).forEach((f) => f(value));
        await settle();
    }

    /* All that happens within ms, in order. */

    async pass(ms) {
        const end = this.now + ms;

        await settle();

        for (;;) {
            const next = this.#timers.filter((t) => t.at <= end)
                .sort((a, b) => a.at - b.at || a.id - b.id)[0];

            if (!next) {
                break;
            }

            this.#timers = this.#timers.filter((t) => t !== next);
            this.now = Math.max(this.now, next.at);
            next.f();
            await settle();
        }

        this.now = end;
    }
}

export class Storage {
    items = new Map();
    broken;                         /* throws this */

    #check() {
        if (this.broken) {
            throw this.broken;
        }
    }

    get length() { this.#check(); return this.items.size; }
    key(i) { return [...this.items.keys()][i]; }
    getItem(name) { this.#check(); return this.items.get(name) ?? null; }
    setItem(name, value) { this.#check(); this.items.set(name, String(value)); }
    removeItem(name) { this.#check(); this.items.delete(name); }
}

class Socket {
    constructor(server, url, protocols) {
        Object.assign(this, { server, url, protocols, open: false });
        server.sockets.push(this);
        this.joins = new Set();
        this.sent = [];
        this.later(() => server.connects(this));
    }

    /* In order in each direction, whatever becomes of the delay. */

    later(f, way = "up") {
        const { world, delay } = this.server;
        const at = Math.max(world.now + delay, this[way] || 0);

        this[way] = at;
        world.timer(() => this.gone || f(), at - world.now);
    }

    send(text) {
        const frame = JSON.parse(text);
        const commands = [].concat(frame);

        this.sent.push(frame);

        this.later(() => {
            const replies = commands.flatMap((c) => this.server.does(this, c));

            replies.forEach((r) => this.say(r));
        });
    }

    /* From the server, a moment later. */

    say(frame) {
        if (!this.mute) {
            this.later(() => this.onmessage?.({ data: JSON.stringify(frame) }),
                       "down");
        }
    }

    close(code) {
        this.end = code;
        this.server.leaves(this);
    }

    /* The connection ends. */

    cut(code = 1006, reason = "") {
        if (!this.gone) {
            this.server.leaves(this);
            this.onclose?.({ code, reason });
        }
    }
}

class Server {
    sockets = [];
    channels = new Map();
    commands = [];                  /* all that were done */
    user = "ann";
    delay = 10;                     /* ms, one way */
    refuses = false;                /* connections */
    instead = null;                 /* (command, socket) => reply, or nothing */
    limits = { message: 65536, batch: 64, channels: 50, history: 1000 };
    welcome = {};
    clients = 0;
    tokens = 0;                     /* of locks */

    constructor(world) {
        this.world = world;
    }

    get socket() {
        return this.sockets.filter((s) => s.open && !s.gone).pop();
    }

    connects(socket) {
        if (this.refuses) {
            socket.gone = true;
            socket.onclose?.({ code: 1006, reason: "" });
            return;
        }

        const token = socket.protocols.find(
            (p) => p.startsWith("fanout.resume."));
        const client = token ? token.split("_")[1] : ++this.clients;

        socket.open = true;
        socket.client = "c_" + client;
        socket.onopen?.({});
        socket.say({ welcome: {
            client: socket.client, resume: "r_" + client, resumed: !!token,
            user: this.user, ping: 25000,
            time: this.world.now + this.world.ahead, limits: this.limits,
            ...this.welcome,
        } });
    }

    leaves(socket) {
        socket.gone = true;
        socket.open = false;
    }

    channel(name) {
        if (!this.channels.has(name)) {
            this.channels.set(name, { epoch: "e1", offset: 0, log: [],
                                      keys: new Map(), members: [],
                                      records: {}, locks: new Map() });
        }

        return this.channels.get(name);
    }

    does(socket, command) {
        const { id, op } = command;
        const other = this.instead && this.instead(command, socket);

        this.commands.push(command);

        if (other) {
            return other === true ? [] : [{ id, ...other }];
        }

        const f = this["do_" + op];

        try {
            return f ? [{ id, ok: f.call(this, socket, command) }]
                     : [{ id, error: { code: "unknown_op", message: op } }];

        } catch (error) {
            return [{ id, error }];
        }
    }

    do_ping() { return { time: this.world.now + this.world.ahead }; }
    do_auth() { return { user: this.user, expires: this.expires }; }
    do_presence() { return {}; }

    do_leave(socket, { channel }) {
        socket.joins.delete(channel);
        return {};
    }

    do_members(socket, { channel }) {
        const { epoch, offset, members } = this.channel(channel);

        return { channel, epoch, offset, members };
    }

    do_join(socket, { channel, since, history = 0 }) {
        const c = this.channel(channel);
        const { epoch, offset, members } = c;
        const all = c.log.map(({ channel: _, ...m }) => m);

        const state = { channel, epoch, offset, members,
                        locks: this.locks(socket, c) };

        socket.joins.add(channel);

        if (!since) {
            return { ...state, records: structuredClone(c.records),
                     messages: history ? all.slice(-history) : [] };
        }

        const recovered = since.epoch === epoch
            && (!all.length || since.offset >= all[0].offset - 1);
        const messages = recovered
                       ? all.filter((m) => m.offset > since.offset) : [];

        return { ...state, recovered, missed: messages.length, messages,
                 ...!recovered && { records: structuredClone(c.records) } };
    }

    do_publish(socket, { channel, key, messages, data, event }) {
        const c = this.channel(channel);

        if (key && c.keys.has(key)) {
            return { ...c.keys.get(key), duplicate: true };
        }

        for (const m of messages || [{ data, key, event }]) {
            this.append(channel, {
                ...m, from: { client: socket.client, user: this.user },
            });
        }

        const ok = { epoch: c.epoch, offset: c.offset, time: this.world.now };

        c.keys.set(key, ok);

        return ok;
    }

    /* One record, merged field by field. */

    do_set(socket, { channel, record, set = {}, base, key }) {
        const c = this.channel(channel);
        const r = c.records[record] ??= { version: 0, fields: {}, by: {} };
        const rejected = {};
        const applied = {};

        if (c.keys.has(key)) {
            return { ...c.keys.get(key), duplicate: true };
        }

        for (const [name, value] of Object.entries(set)) {
            if (base !== undefined && r.by[name] > base) {
                rejected[name] = { value: r.fields[name], user: "bob",
                                   version: r.by[name] };

            } else {
                applied[name] = value;
            }
        }

        if (!Object.keys(applied).length) {
            throw { code: "conflict",
                    data: { version: r.version, rejected } };
        }

        this.change(channel, record, applied, socket.client);

        const ok = { version: r.version, epoch: c.epoch, offset: c.offset,
                     ...Object.keys(rejected).length
                        && { partial: true, rejected } };

        c.keys.set(key, ok);

        return ok;
    }

    /* A change by somebody, told to all. */

    change(channel, record, set, client) {
        const r = this.channel(channel).records[record]
            ??= { version: 0, fields: {}, by: {} };

        r.version++;
        Object.assign(r.fields, set);
        Object.keys(set).forEach((name) => r.by[name] = r.version);
        this.append(channel, { record, version: r.version, set,
                               from: { client } });
    }

    do_get(socket, { channel }) {
        const c = this.channel(channel);

        return { channel, epoch: c.epoch, offset: c.offset,
                 records: structuredClone(c.records),
                 locks: this.locks(socket, c) };
    }

    locks({ client }, { locks }) {
        return [...locks.values()].map(({ token, ...l }) => ({
            ...l, ...l.holder.client === client && { mine: true, token },
        }));
    }

    /* Locks last a minute. */

    do_lock(socket, { channel, name }) {
        const { locks } = this.channel(channel);
        const held = locks.get(name);

        if (held && held.holder.client !== socket.client) {
            throw { code: "locked", data: { holder: held.holder } };
        }

        return this.grant(channel, name, socket.client);
    }

    grant(channel, name, client) {
        const { locks } = this.channel(channel);
        const held = locks.get(name);
        const token = held?.holder.client === client
                    ? held.token : ++this.tokens;
        const lock = { name, holder: { client }, token,
                       expires: this.world.now + this.world.ahead + 60000 };

        locks.set(name, lock);
        this.append(channel, { lock: { name, holder: lock.holder,
                                       expires: lock.expires } });

        return { token, expires: lock.expires };
    }

    do_unlock(socket, { channel, name }) {
        const { locks } = this.channel(channel);

        if (locks.get(name)?.holder.client !== socket.client) {
            throw { code: "not_holder" };
        }

        locks.delete(name);
        this.append(channel, { lock: { name, holder: null,
                                       reason: "unlocked" } });

        return {};
    }

    /* A message for all. */

    append(name, message) {
        const c = this.channel(name);
        const m = { channel: name, offset: ++c.offset, time: this.world.now,
                    ...message };

        c.log.push(m);
        this.tell(name, m);

        return m;
    }

    tell(name, frame) {
        for (const socket of this.sockets) {
            if (socket.open && socket.joins.has(name)) {
                socket.say({ channel: name, ...frame });
            }
        }
    }
}
