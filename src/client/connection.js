/*
 * The connection to the server: one transport at a time, its states, when to
 * try again, the session that is resumed, the token, commands and replies.
 *
 * States, told by the event "state" with {state, reason}:
 *
 *   connecting    the first attempts
 *   connected     the server has said welcome
 *   reconnecting  it was connected, and tries to be so again
 *   suspended     the browser is offline, the page is frozen, or nothing was
 *                 reached for two minutes: it goes on trying, seldom
 *   closed        by close(), or for a reason that trying again does not change
 *
 * reason is a FanoutError, or undefined. Other events: "frame" with what the
 * server sends unasked, "welcome", "error" with what no command waits for,
 * "token" after a token was renewed, "sync" with {channel, received, done} when
 * a part of a large reply has come.
 *
 * Every attempt has a number. What an older one still says is ignored.
 */

import { Emitter } from "./emitter.js";
import { FanoutError, errorOf, tokenError } from "./errors.js";
import { byteLength } from "./host.js";

const OPENING = 15000;              /* ms for a welcome */
const TOKEN = 30000;                /* ms for a token provider */
const RENEWAL = 1000;               /* ms between renewals, at least */
const GRACE = 5000;                 /* ms that a heartbeat may be late */
const PROBE = 10000;                /* ms for the answer to a ping */
const STEADY = 10000;               /* ms after which a connection is good */
const LONG = 120000;                /* ms without one until "suspended" */
const SELDOM = 30000;               /* ms between attempts then */
const RESUME = 300000;              /* ms that a stored resume is tried */
const FOREVER = 86400000;           /* ms, the longest timer */
const BETTER = 60000;               /* ms until a better transport is tried */
const DENIALS = 3;                  /* tokens that are refused in a row */

export class Connection extends Emitter {
    state = "closed";
    reason;
    client;
    user;
    limits = {};
    rtt;
    resumed = false;
    transport;                      /* name of the transport in use */

    url;
    #options;
    #host;
    #told;                          /* the state that listeners know */
    #life = 0;
    #wire;
    #timers = {};
    #attempts = 0;
    #denials = 0;
    #since;                         /* ms, connected until then */
    #was = false;                   /* connected once */
    #heard = 0;
    #clock;                         /* ms that the server is ahead */
    #resume;
    #token;
    #way = 0;                       /* index of the transport */
    #after;                         /* what "closing" says */
    #ping = 30000;
    #id = 0;
    #pending = new Map();
    #out = [];
    #unlisten;

    constructor(url, options, host) {
        super();
        this.url = new URL(url, host.base).href.replace(/^ws/, "http");
        this.#options = options;
        this.#host = host;
        this.#resume = this.#recall();

        if (options.connect !== false) {
            this.state = "connecting";
            Promise.resolve().then(() => this.state !== "closed"
                                         && this.open());
        }
    }

    get connected() {
        return this.state === "connected";
    }

    /* Unix ms of the server, as far as it is known. */

    serverTime() {
        return this.#host.now() + (this.#clock || 0);
    }

    /* Starts, or tries at once instead of later. */

    open() {
        if (this.connected) {
            this.probe();
            return;
        }

        if (this.#timers.opening) {         /* it is at it */
            return;
        }

        if (!this.#unlisten) {
            this.#listen();
            this.#denials = 0;
            this.#way = 0;
            this.#since = this.#host.now();
        }

        this.#attempts = 0;
        this.#attempt();
    }

    close(reason) {
        this.#drop(1000, reason);
        this.#resume = undefined;
        this.#end(reason);
    }

    /* Drops what there is, which may be dead, and tries at once. */

    reconnect() {
        if (this.state === "closed") {
            this.open();
            return;
        }

        this.#drop(4000);
        this.#attempts = 0;
        this.#attempt();
    }

    /*
     * Sends a command, and returns a promise of the "ok" of its reply, with
     * what came before it as parts: [...]. Rejects with the server's error, or
     * with disconnected: then nobody knows whether it was done. arrive(ok) is
     * called before anything that came behind the reply is looked at.
     */

    request(command, arrive) {
        return new Promise((resolve, reject) => {
            if (!this.connected) {
                reject(new FanoutError("disconnected"));
                return;
            }

            const id = ++this.#id;

            this.#pending.set(id, { resolve, reject, arrive, parts: [],
                                    channel: command.channel });
            this.#push({ id, ...command });
        });
    }

    /* The same without a reply. False if there is no connection. */

    send(command) {
        return this.connected && !!this.#push(command);
    }

    /* Asks whether somebody is there, and how long the way is. */

    probe() {
        const life = this.#life;
        const from = this.#host.now();

        if (!this.connected || this.#timers.probe) {
            return;
        }

        this.#timer("probe", PROBE, () => this.#lost(life, {
            opened: true, code: 1006, reason: "silent",
        }));

        this.request({ op: "ping" }).then(({ time }) => {
            const now = this.#host.now();

            this.#stop("probe");
            this.rtt = now - from;
            this.#clock = time + this.rtt / 2 - now;

        }, () => this.#stop("probe"));
    }

    /* One timer of each name. */

    #timer(name, ms, f) {
        this.#stop(name);
        this.#timers[name] = this.#host.setTimeout(() => {
            this.#timers[name] = undefined;
            f();
        }, Math.max(0, Math.min(ms, FOREVER)));
    }

    #stop(name) {
        this.#host.clearTimeout(this.#timers[name]);
        this.#timers[name] = undefined;
    }

    #enter(state, reason) {
        this.state = state;
        this.reason = reason;

        if (state !== this.#told) {
            this.#told = state;
            this.emit("state", { state, reason });
        }
    }

    /* The state without a connection. */

    #trying() {
        const host = this.#host;

        return !host.online() || host.now() - this.#since >= LONG
               ? "suspended" : this.#was ? "reconnecting" : "connecting";
    }

    async #attempt() {
        const life = ++this.#life;
        const host = this.#host;

        this.#stop("retry");
        const ways = this.#ways();
        const way = ways[this.#way % ways.length];

        this.#timer("opening", OPENING, () => this.#lost(life, {
            opened: true, code: 1006, reason: "no welcome",
        }));
        this.#enter(this.#trying(), this.reason);

        if (life !== this.#life) {          /* a listener has closed it */
            return;
        }

        try {
            if (!way) {
                throw new FanoutError("unreachable", "no transport is usable");
            }

            this.#token = await this.#fetchToken();

        } catch (e) {
            this.#lost(life, { opened: true, reason: "token", error: e });
            return;
        }

        if (life !== this.#life) {
            return;
        }

        const guard = (f) => (value) => {
            if (life !== this.#life) {
                return;
            }

            try {
                f(value);

            } catch (error) {
                this.#lost(life, { opened: true, code: 1002, error });
            }
        };

        try {
            this.#after = undefined;
            this.transport = way.name;
            this.#wire = way.open({
                ...this.#common(),
                resume: this.#resume,
                alive: guard(() => this.#heard = host.now()),
                frame: guard((f) => this.#frame(f)),
                text: guard((text) => this.#text(text)),
                closed: (why) => this.#lost(life, why),
            });

        } catch (error) {
            this.#lost(life, { opened: false, code: 1006, error });
        }
    }

    #ways() {
        return this.#options.transports.filter((t) => t.usable(this.#host));
    }

    #common() {
        return {
            url: this.url,
            host: this.#host,
            token: this.#token,
            tokenByCommand: this.#options.tokenBy === "command",
        };
    }

    /*
     * Whether a better transport works by now: tried beside the one in use,
     * as a client that leaves at once.
     */

    #better(pause) {
        const life = this.#life;
        let wire;

        if (!this.#way) {
            return;
        }

        this.#timer("better", pause, () => {
            const again = () => {
                if (life === this.#life) {
                    this.#better(Math.min(2 * pause, 16 * BETTER));
                }
            };

            this.#timer("better", OPENING, () => {
                wire.close(4000);
                again();
            });

            try {
                wire = this.#ways()[0].open({
                    ...this.#common(),
                    frame: () => {},
                    text: () => {},
                    closed: again,
                    alive: () => {
                        wire.close(1000);

                        if (life === this.#life) {
                            this.#way = 0;
                            this.reconnect();
                        }
                    },
                });

            } catch (e) {
                again();
            }
        });
    }

    /* The token, of a provider that has TOKEN ms. */

    #fetchToken(why) {
        const { token } = this.#options;

        if (typeof token !== "function") {
            return token;
        }

        return new Promise((resolve, reject) => {
            const late = this.#host.setTimeout(
                () => reject(new FanoutError("timeout", "no token")), TOKEN);

            Promise.resolve(why).then(token)
                .then(resolve, (e) => reject(tokenError(e)))
                .finally(() => this.#host.clearTimeout(late));
        });
    }

    #text(text) {
        const life = this.#life;

        this.#heard = this.#host.now();

        for (const f of [].concat(JSON.parse(text))) {
            if (life === this.#life) {
                this.#frame(f);
            }
        }
    }

    #frame(f) {
        if (f.welcome) {
            this.#welcome(f.welcome);

        } else if (f.id !== undefined && this.#pending.has(f.id)) {
            this.#reply(f, this.#pending.get(f.id));

        } else if (f.closing) {
            this.#after = f.closing;

        } else if (f.expiring && !f.channel) {
            this.#renew();

        } else if (f.error) {
            this.emit("error", errorOf(f.error));

        } else if (f.channel) {
            this.emit("frame", f);
        }
    }

    #reply(f, waiting) {
        if (f.part) {
            waiting.parts.push(f.part);
            this.#sync(waiting, f.part, false);
            return;
        }

        if (f.error) {
            waiting.reject(errorOf(f.error));

        } else {                        /* without "ok" it throws */
            const ok = Object.assign(f.ok, { parts: waiting.parts });

            if (ok.parts.length) {
                this.#sync(waiting, ok, true);
            }

            waiting.arrive?.(ok);
            waiting.resolve(ok);
        }

        this.#pending.delete(f.id);
    }

    /* How much of a reply in parts has come. */

    #sync(waiting, { channel, messages, members, records, locks }, done) {
        const lists = [messages, members, records, locks];

        waiting.received = lists.reduce(
            (sum, list) => sum + (list?.length || 0), waiting.received || 0);
        this.emit("sync", { channel: channel ?? waiting.channel,
                            received: waiting.received, done });
    }

    #welcome(w) {
        const now = this.#host.now();

        this.#stop("opening");
        this.#resume = w.resume;
        this.#ping = w.ping || 30000;
        this.#clock ??= w.time - now;
        this.#was = true;
        this.#denials = 0;
        this.#heard = now;

        if (w.client) {                     /* else it has no session yet */
            this.client = w.client;
            this.user = w.user;
            this.limits = w.limits ?? {};
            this.#expires(w.expires);
        }

        if (this.connected) {               /* a transport began anew */
            this.emit("welcome", w);
            return;
        }

        this.#timer("steady", STEADY, () => this.#attempts = 0);
        this.#watch();
        this.#better(BETTER);
        this.resumed = w.resumed;
        this.#enter("connected");
        this.emit("welcome", w);
        this.probe();
    }

    /* Looks whether the server is heard. Waking from sleep makes it late. */

    #watch() {
        const silent = this.#host.now() - this.#heard;
        const left = this.#ping + GRACE - silent;

        if (left <= 0) {
            this.probe();
        }

        this.#timer("watch", left > 0 ? left : GRACE, () => this.#watch());
    }

    /* The connection of that attempt is over. */

    #lost(life, why) {
        if (life !== this.#life) {
            return;
        }

        const { code, status } = why;
        const closing = this.#after || {};
        const reason = why.error instanceof FanoutError ? why.error
            : new FanoutError(closing.code || why.reason || "disconnected",
                              closing.message || why.message || why.reason
                              || String(why.error || "connection lost"),
                              { code: code || status });

        this.#drop(4000, reason);

        if (code === 4409 || code === 4403 || closing.reconnect === false) {
            this.#resume = undefined;
            this.#end(reason);
            return;
        }

        if (code === 4401) {
            this.#way = 0;

            if (typeof this.#options.token !== "function"
                || ++this.#denials >= DENIALS)
            {
                this.#end(new FanoutError("unauthorized", reason.message));
                return;
            }
        }

        if (why.unreachable) {              /* the next network may differ */
            this.#way = 0;

        } else if (!why.opened) {
            this.#way++;
        }

        this.#later(closing.after ?? why.retryAfter,
                    code === 4429 || code === 1013, reason);
    }

    /* Tries again: when the server says, or by chance, later each time. */

    #later(after, crowded, reason) {
        const host = this.#host;
        const { base, max } = this.#options.backoff;
        const n = this.#attempts++;

        const told = Number.isFinite(after) && after >= 0;
        let wait = host.random() * Math.min(max, base * 2 ** Math.min(n, 20));

        if (told) {                         /* the first time, exactly then */
            wait = n ? Math.max(wait, after) : after;

        } else if (crowded) {
            wait = Math.max(wait, base * 5);
        }

        if (!host.online()) {
            wait = SELDOM;
        }

        /* first the timer: a listener may close, or try at once */

        this.#timer("retry", wait, () => this.#attempt());
        this.#enter(this.#trying(), reason);
    }

    /* Ends what the wire is used for. Later words of it are ignored. */

    #drop(code, reason = new FanoutError("disconnected")) {
        const wire = this.#wire;
        const pending = [...this.#pending.values()];

        this.#life++;
        this.#wire = undefined;
        this.#out = [];
        this.#pending.clear();

        for (const name of Object.keys(this.#timers)) {
            this.#stop(name);
        }

        if (this.connected) {
            this.#since = this.#host.now();
            this.state = "reconnecting";    /* told when it is known better */
        }

        if (wire) {
            try {
                wire.close(code);

            } catch (e) {
                /* it was closed */
            }
        }

        const error = new FanoutError("disconnected", reason.message);

        pending.forEach(({ reject }) => reject(error));
    }

    #end(reason) {
        this.#life++;
        this.#unlisten?.();
        this.#unlisten = undefined;
        this.#was = false;
        this.#enter("closed", reason);
    }

    #push(command) {
        if (this.#out.push(command) === 1) {
            const life = this.#life;

            Promise.resolve().then(() => {
                if (life === this.#life) {
                    this.#flush();
                }
            });
        }

        return true;
    }

    /* Frames of as many commands, and bytes, as the server takes. */

    #flush() {
        const { batch = 64, message = 65536 } = this.limits;
        const life = this.#life;
        let frame = [];
        let bytes = 0;

        const commands = this.#out;
        this.#out = [];

        const send = () => {
            if (frame.length && life === this.#life) {
                try {
                    this.#wire.send(frame);

                } catch (error) {
                    this.#lost(life, { opened: true, code: 1006, error });
                }
            }

            frame = [];
            bytes = 0;
        };

        for (const command of commands) {
            const size = byteLength(JSON.stringify(command)) + 1;

            if (frame.length >= batch || bytes + size > message) {
                send();
            }

            frame.push(command);
            bytes += size;
        }

        send();
    }

    /* Renews the token before it ends, in place where that is possible. */

    #expires(at) {
        if (at === undefined || typeof this.#options.token !== "function") {
            this.#stop("renew");
            return;
        }

        const left = at - this.serverTime();

        this.#timer("renew",
                    Math.max(RENEWAL, left - Math.min(30000, left / 2)),
                    () => this.#renew());
    }

    async #renew() {
        const life = this.#life;

        if (typeof this.#options.token !== "function"
            || this.#timers.renewing)
        {
            return;
        }

        /* one at a time, and another one in a while if this one fails */

        this.#timer("renewing", TOKEN, () => this.#renew());

        try {
            const token = await this.#fetchToken("renew");

            if (life !== this.#life) {
                return;
            }

            if (!this.#wire.auth) {
                this.reconnect();
                return;
            }

            const ok = await this.request({ op: "auth", token });

            this.#stop("renewing");
            this.#token = token;
            this.user = ok.user;
            this.#expires(ok.expires);
            this.emit("token");

        } catch (e) {
            if (e.code !== "disconnected" && life === this.#life) {
                this.emit("error", e);
            }
        }
    }

    /* Events of the page and its network. */

    #listen() {
        const wake = () => {
            if (this.connected) {
                this.probe();

            } else if (this.state !== "closed") {
                this.open();
            }
        };

        const sleep = () => {
            if (this.state !== "closed") {
                this.#drop(4001);
                this.#enter("suspended", new FanoutError("frozen"));
            }
        };

        this.#unlisten ??= this.#host.listen({
            online: wake,
            offline: () => this.probe(),
            pageshow: wake,
            resume: wake,
            freeze: sleep,
            visibilitychange: () => {
                if (!globalThis.document.hidden) {
                    wake();
                }
            },
            pagehide: (e) => {
                this.#remember();

                if (e.persisted) {
                    sleep();
                }
            },
        });
    }

    /*
     * The token of the resume is in the storage only while no page has it: a
     * tab that is duplicated copies the storage, and must be another client.
     */

    #remember() {
        try {
            if (this.#resume && this.state !== "closed") {
                this.#host.session.setItem(
                    "fanout.resume:" + this.url,
                    this.#host.now() + " " + this.#resume);
            }

        } catch (e) {
            /* without it, it is another client */
        }
    }

    #recall() {
        const name = "fanout.resume:" + this.url;

        try {
            const [at, token] = this.#host.session.getItem(name).split(" ");

            this.#host.session.removeItem(name);

            if (this.#host.now() - at < RESUME) {
                return token;
            }

        } catch (e) {
            /* there is none */
        }

        return undefined;
    }
}
