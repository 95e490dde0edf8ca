/*
 * Who is on a channel: a live map, read only, of members by client (and key,
 * "client/key", where a client has several), as in docs/protocol.md#presence.
 *
 * Events: "join", "update" and "leave" with a member, and "change" at most once
 * in each picture, with the map. After a break, what has changed meanwhile is
 * told in the same way; the reason of such a leave is "unknown".
 *
 * enter(data) makes this client a member, also again after each break, until
 * leave() or the channel is left. use(data) does so until the function that it
 * returns is called by all who did.
 */

import { View } from "./view.js";

const nameOf = ({ client, key }) => key === undefined ? client
                                                      : client + "/" + key;

const LEAVE = 1000;                 /* ms: a page may draw a part anew */

const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);

export class Presence extends View {
    summary;                        /* {members}, with presence=summary */

    #channel;
    #hub;
    #members;
    #mine;                          /* data, undefined: not a member */
    #sent;                          /* what the join had of it */
    #state;
    #end;                           /* of the use by being a member */
    #uses = 0;
    #leaving;

    constructor(channel, hub) {
        const members = new Map();

        super(channel, hub.host, members);
        this.#members = members;
        this.#channel = channel;
        this.#hub = hub;
        channel.presence = this;
    }

    /* This client's own, as the others see it, or undefined. */

    get me() {
        return this.get(nameOf({ client: this.#hub.connection.client,
                                 key: this.#channel.key }));
    }

    /* Becomes a member, or changes its data. */

    enter(data = {}) {
        const before = this.#mine;

        this.#mine = data;
        this.#end ??= this.#channel.use();

        if (this.#channel.joined && !same(before, data)) {
            this.#sent = data;
            this.#tell({ data });
        }
    }

    /* For parts of a page, which come and go. The last data counts. */

    use(data) {
        const { host } = this.#hub;
        let ended = false;

        this.#uses++;
        host.clearTimeout(this.#leaving);
        this.enter(data);

        return () => {
            if (!ended && --this.#uses === 0) {
                this.#leaving = host.setTimeout(() => this.leave(), LEAVE);
            }

            ended = true;
        };
    }

    /* "active" or "idle" */

    setState(state) {
        this.#state = state;

        if (this.#channel.joined && this.#mine !== undefined) {
            this.#tell({ state });
        }
    }

    leave() {
        if (this.#mine !== undefined) {
            this.#mine = undefined;

            if (this.#channel.joined) {
                this.#sent = undefined;
                this.#tell({ data: null });
            }
        }

        this.#end?.();
        this.#end = undefined;
    }

    /* From the channel. */

    join(command) {
        this.#sent = this.#mine;

        if (this.#mine !== undefined) {
            command.presence = this.#mine;
        }
    }

    arrived(reply, parts) {
        this.#replace(reply, parts);

        if (!same(this.#sent, this.#mine)) {    /* changed since the join */
            this.#sent = this.#mine;
            this.#tell({ data: this.#mine ?? null });
        }

        if (this.#state === "idle" && this.#mine !== undefined) {
            this.#tell({ state: this.#state });
        }
    }

    told({ presence }) {
        if (!presence) {
            return false;
        }

        if (presence.summary) {
            this.summary = presence.summary;
        }

        (presence.left || []).forEach((m) => this.#remove(m));
        [...presence.joined || [], ...presence.updated || []]
            .forEach((m) => this.#put(m));
        this.changed();

        return true;
    }

    lost(of) {
        if (of === "presence" || !of && (this.size || this.summary)) {
            this.#channel.read({ op: "members" },
                               (...reply) => this.#replace(...reply));
        }
    }

    ended() {
        this.#end = undefined;
        this.#mine = undefined;
        this.#members.clear();
        this.changed();
    }

    #tell(what) {
        this.#channel.read({ op: "presence", key: this.#channel.key, ...what });
    }

    #replace(reply, parts) {
        this.summary = reply.summary || this.summary;

        if (!reply.members) {
            return;
        }

        const all = parts.flatMap((part) => part.members || []);
        const there = new Set(all.map(nameOf));

        for (const [name, member] of [...this.#members]) {
            if (!there.has(name)) {
                this.#remove({ ...member, reason: "unknown" });
            }
        }

        for (const member of all) {
            if (!same(member, this.get(nameOf(member)))) {
                this.#put(member);
            }
        }

        this.changed();
    }

    #put(member) {
        const name = nameOf(member);
        const event = this.has(name) ? "update" : "join";

        this.#members.set(name, member);
        this.emit(event, member);
    }

    #remove(member) {
        if (this.#members.delete(nameOf(member))) {
            this.emit("leave", member);
        }
    }
}
