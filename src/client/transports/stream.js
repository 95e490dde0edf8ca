/*
 * What server-sent events and polls have in common: the channels are in the
 * URL of a GET, commands go by POST. To the connection it looks like a
 * WebSocket: a join is a command with a reply.
 *
 * A GET names all channels, each with its position, and begins anew when a
 * channel is joined or left. Its replies to joins that were answered before go
 * to the channel as {channel, state}, and so do lists that come on their own.
 * A GET without channels is none: then a ping by POST tells that the server is
 * there, and the welcome has no client.
 *
 * A join that is refused refuses the GET. So after a refusal new joins are
 * tried one by one.
 *
 * The subclass has args (of the URL), accept and read(abort).
 */

const GATHER = 10;                  /* ms in which joins are gathered */

/* Why a request has failed; Node has the reason in a cause. */

function failed(error) {
    return { reason: "network",
             message: error.cause?.code || error.cause?.message
                      || error.message,
             unreachable: error instanceof TypeError };
}

export class Stream {
    auth = false;
    ended = false;

    #o;
    #joins = new Map();             /* channel: {command, since, done} */
    #parts = new Map();             /* channel: parts of its reply */
    #posts = Promise.resolve();
    #timer;
    #abort;
    #session;                       /* token of it */
    #single = false;

    constructor(o) {
        this.#o = o;
        this.#session = o.resume;
        this.#again(0);
    }

    get host() {
        return this.#o.host;
    }

    get isNew() {
        return !this.#session;
    }

    get joins() {
        return [...this.#joins.values()].map(({ command, since }) => {
            const { id, op, token, ...join } = command;

            return { ...join, ...since && { since } };
        });
    }

    /* From the connection. */

    send(commands) {
        const posts = [];

        for (const command of commands) {
            const { op, channel } = command;
            const join = this.#joins.get(channel);

            /* a GET that begins anew says what is so then */

            if (op === "presence" && join && "data" in command) {
                join.command = { ...join.command,
                                 presence: command.data ?? undefined };
            }

            if (op === "join") {
                this.#joins.set(channel, { command, since: command.since });
                this.#again(GATHER);

            } else {
                posts.push(command);
            }

            if (op === "leave" && this.#joins.delete(channel)) {
                this.#again(GATHER);
            }
        }

        if (posts.length) {
            this.#posts = this.#posts.then(() => this.#post(posts));
        }
    }

    close(code) {
        const leaves = [...this.#joins.keys()].map(
            (channel) => ({ op: "leave", channel }));

        if (code === 1000 && leaves.length && !this.ended) {
            this.#fetch("POST", leaves, { keepalive: true }).catch(() => {});
        }

        this.ended = true;
        this.#stop();
    }

    /* It is over. */

    end(why) {
        if (!this.ended) {
            this.ended = true;
            this.#stop();
            this.#o.closed({ opened: true, code: 1006, ...why });
        }
    }

    alive() {
        this.#o.alive();
    }

    /* Objects of the protocol as text. */

    take(text) {
        this.alive();

        for (const f of [JSON.parse(text)].flat(Infinity)) {
            if (!this.ended) {
                this.#one(f);
            }
        }
    }

    /* A GET of all channels; null if it is refused. */

    async get(abort, more) {
        const response = await this.#fetch("GET", null, {
            signal: abort.signal,
        }, more);

        this.alive();

        if (response.ok || abort.signal.aborted) {
            return response;
        }

        const { error = {} } = await response.json().catch(() => ({}));
        const fresh = this.#fresh;

        if (error.message?.endsWith("fanout_transports")) {
            this.end({ opened: false, reason: error.code });

        } else if (response.status !== 401 && response.status < 429
            && error.code !== "blocked" && fresh.length)
        {
            if (fresh.length === 1) {
                this.#joins.delete(fresh[0].command.channel);
                this.#o.frame({ id: fresh[0].command.id, error });
            }

            this.#single = true;
            this.#again(0);

        } else {
            this.#refused(response, error);
        }

        return null;
    }

    get #fresh() {
        const all = [...this.#joins.values()].filter((j) => !j.done);

        return this.#single ? all.slice(0, 1) : all;
    }

    #refused({ status, headers }, { code, data }) {
        const after = data?.retry_after ?? headers.get("Retry-After") * 1000;

        this.end({
            reason: code,
            message: code ? undefined : "the server answered " + status,
            code: status === 401 ? 4401 : code === "blocked" ? 4403 : 1006,
            retryAfter: after ? after * (1 + this.host.random() / 2)
                              : undefined,
        });
    }

    #stop() {
        this.host.clearTimeout(this.#timer);
        this.#abort?.abort();
    }

    #again(ms) {
        this.#stop();
        this.#timer = this.host.setTimeout(() => this.#run(), ms);
    }

    async #run() {
        const abort = this.#abort = new AbortController();

        this.#parts.clear();

        try {
            if (this.#joins.size) {
                await this.read(abort);

            } else {
                await this.#hello();
            }

        } catch (error) {
            if (!abort.signal.aborted) {
                this.end(failed(error));
            }
        }
    }

    async #hello() {
        const response = await this.#fetch("POST", { op: "ping", id: 0 });
        const { ok, error } = await response.json().catch(() => ({}));

        if (ok) {
            this.#o.frame({
                welcome: { resume: this.#session, time: ok.time },
            });

        } else {
            this.#refused(response, error || {});
        }
    }

    /* Commands, in order: their replies are frames. */

    async #post(commands) {
        if (this.ended) {
            return;
        }

        try {
            const response = await this.#fetch(
                "POST", commands.length > 1 ? commands : commands[0]);

            if (response.status === 204) {
                this.alive();
                return;
            }

            const text = await response.text();
            const { error, id } = JSON.parse(text);

            if (!error || id !== undefined) {
                this.take(text);

            } else if (response.status === 401) {
                this.#refused(response, error);

            } else {
                this.take(JSON.stringify(commands.map(
                    (command) => ({ id: command.id, error }))));
            }

        } catch (error) {
            this.end(failed(error));
        }
    }

    #fetch(method, body, more, args) {
        const { token } = this.#o;
        const get = method === "GET";
        const tokens = [...this.#joins.values()].map((j) => j.command.token)
            .filter(Boolean);

        return this.host.fetch(get ? this.#url(args) : this.#o.url, {
            method,
            cache: "no-store",
            body: body ? JSON.stringify(body) : undefined,
            headers: {
                "X-Requested-With": "fanout",
                ...get ? { Accept: this.accept }
                       : { "Content-Type": "application/json" },
                ...token && { Authorization: "Bearer " + token },
                ...tokens.length && { "Fanout-Join-Token": tokens.join(",") },
                ...this.#session && { "Fanout-Resume": this.#session },
            },
            ...more,
        });
    }

    /* Of a GET; what the application has in the URL stays as it is. */

    #url(more) {
        const url = new URL(this.#o.url);
        const later = this.#single
            ? [...this.#joins.values()].filter((j) => !j.done).slice(1)
                .map((j) => j.command.channel) : [];
        const args = this.joins.filter((j) => !later.includes(j.channel))
            .map((join) => ["join", JSON.stringify(this.adapt(join))]);

        args.push(...Object.entries({ ...this.args, ...more }));

        url.search = [url.search.slice(1), ...args.map(
            ([name, value]) => name + "=" + encodeURIComponent(value),
        )].filter(Boolean).join("&");

        return url.href;
    }

    adapt(join) {
        return join;
    }

    #one(f) {
        const reply = f.id === undefined && (f.ok || f.part);
        const join = this.#joins.get(f.channel);

        if (f.welcome) {
            this.#session = f.welcome.resume;
            this.#o.frame(f);

        } else if (reply && reply.channel) {
            this.#reply(reply, f.ok);

        } else if (f.closing && (f.closing.status
                                 || f.closing.reconnect === false))
        {
            this.#o.frame(f);
            this.end({ code: f.closing.status });

        } else {
            if (join?.since && f.reset) {
                join.since = { epoch: f.reset.epoch, offset: 0 };

            } else if (join?.since && f.offset > join.since.offset) {
                join.since = { ...join.since, offset: f.offset };
            }

            this.#o.frame(f);
        }
    }

    #reply(reply, ok) {
        const { channel } = reply;
        const join = this.#joins.get(channel);
        const parts = this.#parts.get(channel) || [];

        if (!join) {
            return;
        }

        if (!ok) {
            this.#parts.set(channel, [...parts, reply]);
            return;
        }

        this.#parts.delete(channel);

        if (reply.messages) {
            join.since = { epoch: reply.epoch, offset: reply.offset };
        }

        if (join.done || !reply.messages) {
            this.#o.frame({ channel, state: { ...reply, parts } });
            return;
        }

        const { id } = join.command;

        join.done = true;
        parts.forEach((part) => this.#o.frame({ id, part }));
        this.#o.frame({ id, ok: reply });

        if (this.#single && this.#fresh.length) {
            this.#again(0);

        } else {
            this.#single = false;
        }
    }
}
