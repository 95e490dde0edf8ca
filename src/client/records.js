/*
 * Records: state that a channel holds (docs/records.md).
 *
 * channel.records is a map of all of them, by id: {version, fields}, as they
 * are with the changes of this client that are on their way. Its event "change"
 * has the map, at most once in each picture.
 *
 * channel.record(id) is one of them: version, fields (undefined if there is no
 * such record), pending (how many changes are on their way), and
 *
 *   set(fields, options)      options: mode, create, token, release, and unset
 *   append(fields, options)   and append of the op
 *   delete(options)
 *
 * which show the change at once, and return the Sending of the queue. What the
 * server refuses is rolled back, and told by "conflict" of the record:
 *
 *   {fields: {NAME: {mine, value, version, user}}, error, retry()}
 *
 * retry() sends these fields again, based on what the others have set.
 *
 * A change is based on the version that was shown. A field that this client
 * has changed meanwhile, by another change that was on its way, is based on the
 * answer to that one. If the fields of a change then have several bases, it is
 * sent in several commands, but for mode "reject", which keeps the oldest base.
 */

import { Emitter } from "./emitter.js";

export const records = {
    name: "records",
    part: (channel, hub) => new Records(channel, hub),
};

const namesOf = ({ set, append, unset }) => [
    ...Object.keys(set || {}), ...Object.keys(append || {}), ...unset || [],
];

/* The fields after a change; null: there is no record any more. */

function apply(fields, { set, unset, append, deleted, op }) {
    if (deleted || op === "delete") {
        return null;
    }

    const after = { ...fields, ...set };

    for (const name of unset || []) {
        delete after[name];
    }

    for (const [name, items] of Object.entries(append || {})) {
        after[name] = [...Array.isArray(after[name]) ? after[name] : [],
                       ...items];
    }

    return after;
}

class Record extends Emitter {
    #records;

    constructor(all, id) {
        super();
        this.#records = all;
        this.id = id;
    }

    get version() { return this.#records.get(this.id)?.version ?? 0; }
    get fields() { return this.#records.get(this.id)?.fields; }
    get pending() { return this.#records.pending(this.id).length; }

    on(event, listener) {
        const off = super.on(event, listener);
        const end = this.#records.channel.use();

        return () => {
            off();
            end();
        };
    }

    set(set, options) {
        return this.#records.change({ op: "set", record: this.id, set,
                                      ...options });
    }

    append(append, options) {
        return this.#records.change({ op: "set", record: this.id, append,
                                      ...options });
    }

    delete(options) {
        return this.#records.change({ op: "delete", record: this.id,
                                      ...options });
    }
}

class Records extends Emitter {
    #hub;
    #known = new Map();             /* id: {version, fields}, as told */
    #live = new Map();              /* id: Record */
    #acked = [];                    /* Sendings whose change is yet to come */
    #changed = new Set();

    constructor(channel, hub) {
        super();
        this.channel = channel;
        this.#hub = hub;
        channel.records = this;
        channel.record = (id) => this.#record(id);
        hub.queue.on("settled", (item) => this.#settled(item));
    }

    get size() { return [...this].length; }
    has(id) { return !!this.get(id); }
    keys() { return this.#ids().filter((id) => this.has(id)).values(); }

    get(id) {
        const known = this.#known.get(id);
        let fields = known?.fields;

        for (const { command } of this.pending(id)) {
            fields = apply(fields, command);
        }

        return fields ? { version: known?.version ?? 0, fields } : undefined;
    }

    *[Symbol.iterator]() {
        for (const id of this.keys()) {
            yield [id, this.get(id)];
        }
    }

    on(event, listener) {
        const off = super.on(event, listener);
        const end = this.channel.use();

        return () => {
            off();
            end();
        };
    }

    /* Sendings that the server has not told yet, of one record or all. */

    pending(id) {
        return [...this.#acked, ...this.#hub.queue.items].filter(
            ({ command: c }) => c.channel === this.channel.name && c.record
                                && (id === undefined || c.record === id));
    }

    change(command) {
        const base = this.#known.get(command.record)?.version ?? 0;
        const sending = this.#hub.queue.add({
            channel: this.channel.name,
            ...command.mode === "overwrite" ? {} : { base },
            ...command,
        });

        sending.split = () => split(sending);
        this.#acked.filter((s) => s.command.record === command.record)
            .forEach((s) => own(sending, s));
        this.#tell(command.record);

        return sending;
    }

    /* From the channel. */

    arrived(reply, parts) {
        if (!reply.records) {
            return;
        }

        const before = [...this.#known.keys()];

        this.#known.clear();

        for (const part of parts) {
            for (const [id, record] of Object.entries(part.records || {})) {
                this.#known.set(id, record);
            }
        }

        this.#acked = [];
        [...before, ...this.#known.keys()].forEach((id) => this.#tell(id));
    }

    told(f) {
        if (f.record === undefined) {
            return false;
        }

        const { record: id, version } = f;
        const known = this.#known.get(id);

        if (!known || version > known.version) {
            const fields = apply(known?.fields, f);

            if (fields) {
                this.#known.set(id, { version, fields });

            } else {
                this.#known.delete(id);
            }

            this.#acked = this.#acked.filter(
                ({ command, result }) => command.record !== id
                                         || result.version > version);
            this.#tell(id);
        }

        return true;
    }

    lost(of) {
        if (of === undefined && (this.#known.size || this.#live.size)) {
            this.channel.read({ op: "get", all: true },
                              (...reply) => this.arrived(...reply));
        }
    }

    ended() {
        const ids = this.#ids();

        this.#known.clear();
        this.#acked = [];
        ids.forEach((id) => this.#tell(id));
    }

    #ids() {
        return [...new Set([...this.#known.keys(),
                            ...this.pending().map((s) => s.command.record)])];
    }

    #record(id) {
        if (!this.#live.has(id)) {
            this.#live.set(id, new Record(this, id));
        }

        return this.#live.get(id);
    }

    /* From the queue: an answer. The item waits no more. */

    #settled(item) {
        const { command, result, error } = item;

        if (command.channel !== this.channel.name || !command.record) {
            return;
        }

        const id = command.record;

        if (result) {
            const rejected = Object.keys(result.rejected || {});

            if (rejected.length) {
                this.#conflict(item, result.rejected, result.version);
                item.command = without(command, rejected);
            }

            if (this.channel.joined
                && result.version > (this.#known.get(id)?.version ?? 0))
            {
                this.#acked.push(item);
            }

            this.#rebase(item);

        } else if (error.code === "conflict") {
            this.#conflict(item, error.data?.rejected || {},
                           error.data?.version ?? 0);
        }

        this.#tell(id);
    }

    /* Later changes of what this client has set by this one. */

    #rebase(item) {
        for (const later of this.pending(item.command.record)) {
            own(later, item);
        }
    }

    #conflict(item, rejected, version) {
        const { set = {}, unset = [], append } = item.command;
        const names = Object.keys(rejected);
        const fields = {};

        for (const name of names.length ? names : namesOf(item.command)) {
            fields[name] = { mine: set[name], ...rejected[name] };
        }

        const mine = Object.keys(fields).filter((name) => name in set);

        this.#record(item.command.record).emit("conflict", {
            fields,
            error: item.error,
            retry: () => this.change({
                ...item.command,
                key: undefined,
                release: undefined,
                base: version,
                append: item.error ? append : undefined,
                unset: unset.filter((name) => name in fields),
                set: Object.fromEntries(mine.map((n) => [n, set[n]])),
            }),
        });
    }

    #tell(id) {
        if (!this.#changed.size) {
            this.#hub.host.frame(() => {
                const ids = [...this.#changed];

                this.#changed.clear();
                ids.forEach((one) => this.#live.get(one)
                    ?.emit("change", this.#live.get(one)));
                this.emit("change", this);
            });
        }

        this.#changed.add(id);
    }
}

/* A change comes after one of this client's own, which was answered. */

function own(later, { command, result }) {
    later.own ??= {};
    namesOf(command).forEach((n) => later.own[n] = result.version);
}

/* The commands of a change: one for each base that its fields have. */

function split({ command, own: after = {} }) {
    const { base, mode, key, release, append, set, unset = [] } = command;
    const names = namesOf({ set, unset });
    const baseOf = (name) => Math.max(after[name] ?? base, base);
    const bases = [...new Set(names.map(baseOf))].sort((a, b) => a - b);

    if (base === undefined || mode === "reject" || bases.length < 2) {
        return [{ ...command, base: base === undefined ? base
                                                       : bases[0] ?? base }];
    }

    return bases.map((at, i) => ({
        ...command,
        base: at,
        key: key + "/" + at,
        append: i ? undefined : append,
        release: i < bases.length - 1 ? undefined : release,
        unset: unset.filter((n) => baseOf(n) === at),
        set: Object.fromEntries(Object.entries(set || {})
            .filter(([n]) => baseOf(n) === at)),
    }));
}

function without(command, names) {
    const { set, unset } = command;
    const left = Object.entries(set || {}).filter(([n]) => !names.includes(n));

    return {
        ...command,
        set: Object.fromEntries(left),
        unset: unset?.filter((n) => !names.includes(n)),
    };
}
