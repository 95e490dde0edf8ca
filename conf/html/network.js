/*
 * A network for a page that shows what its client does without one, or with a
 * bad one. The client gets it as options:
 *
 *     const network = new Network();
 *     const hub = new Fanout("realtime", { ...network.options });
 *     network.set("down");
 *
 *   up         as it is
 *   slow       everything takes a second in each direction
 *   flaky      connections break every few seconds
 *   blocked    no WebSocket is let through
 *   buffered   nor event streams: a proxy holds them back
 *   deaf       what is said arrives, and nothing comes back
 *   down       nothing is let through
 *
 * heard(direction, text) is called with what passes: "in" or "out".
 */

const SLOW = 1000;                  /* ms */

export class Network {
    mode = "up";

    #heard;
    #sockets = new Set();
    #requests = new Set();          /* AbortControllers */
    #timer;

    constructor(heard = () => {}) {
        const network = this;

        this.#heard = heard;
        this.options = {
            WebSocket: class extends Socket {
                constructor(url, protocols) {
                    super(network, url, protocols);
                }
            },
            fetch: (...args) => this.#fetch(...args),
        };
    }

    /* Into another mode. What it does not let through is cut. */

    set(mode) {
        this.mode = mode;
        clearTimeout(this.#timer);

        if (!this.socketsPass) {
            this.cut();
        }

        if (mode === "flaky") {
            this.#break();
        }
    }

    /* Ends all connections, as a network does that fails for a moment. */

    cut() {
        [...this.#sockets].forEach((socket) => socket.cut());
        [...this.#requests].forEach((request) => request.abort());
    }

    /* For sockets. */

    get socketsPass() {
        return !["blocked", "buffered", "down"].includes(this.mode);
    }

    get delay() {
        return this.mode === "slow" ? SLOW : 0;
    }

    opened(socket) { this.#sockets.add(socket); }
    closed(socket) { this.#sockets.delete(socket); }
    heard(direction, text) { this.#heard(direction, text); }

    #break() {
        this.#timer = setTimeout(() => {
            this.cut();
            this.#break();
        }, 2000 + 4000 * Math.random());
    }

    async #fetch(url, { signal, ...options } = {}) {
        const request = new AbortController();
        const streams = options.headers?.Accept === "text/event-stream";
        const abort = () => request.abort();

        if (this.mode === "down") {
            throw new TypeError("no network");
        }

        if (streams && this.mode === "buffered") {
            return new Promise(() => {});
        }

        if (options.body) {
            this.heard("out", options.body);
        }

        signal?.addEventListener("abort", abort);
        this.#requests.add(request);

        /* also while the body is read: the set is small, and ends with it */

        const response = await fetch(url, {
            ...options, signal: request.signal,
        }).catch((error) => {
            this.#requests.delete(request);
            throw error;
        });

        if (!streams) {
            this.#requests.delete(request);
        }

        return response;
    }
}

/* The part of WebSocket that the client uses. */

class Socket {
    onopen;
    onmessage;
    onclose;

    #network;
    #socket;
    #lines = { in: [], out: [] };   /* what is on its way */

    constructor(network, url, protocols) {
        this.#network = network;

        if (network.mode === "down") {      /* nobody answers */
            return;
        }

        if (!network.socketsPass) {
            setTimeout(() => this.onclose?.({ code: 1006, reason: "" }));
            return;
        }

        const socket = this.#socket = new WebSocket(url, protocols);

        network.opened(this);
        socket.onopen = (e) => this.onopen?.(e);
        socket.onmessage = (e) => this.#pass("in", e.data,
                                             () => this.onmessage?.(e));
        socket.onclose = (e) => {
            network.closed(this);
            this.onclose?.(e);
        };
    }

    send(text) {
        this.#pass("out", text, () => this.#socket?.send(text));
    }

    close(code) {
        this.#end(code);
    }

    /* 4000 is no goodbye: the server keeps the place of who was cut. */

    cut() {
        this.#end(4000);
        this.onclose?.({ code: 1006, reason: "network" });
    }

    #end(code) {
        const socket = this.#socket;

        this.#socket = undefined;
        this.#lines = { in: [], out: [] };
        this.#network.closed(this);

        if (socket) {
            socket.onmessage = socket.onclose = null;
            socket.close(code);
        }
    }

    /* In order, also when the delay changes meanwhile. */

    #pass(direction, text, f) {
        const line = this.#lines[direction];
        const due = Date.now() + this.#network.delay;

        if (direction === "in" && this.#network.mode === "deaf") {
            return;
        }

        this.#network.heard(direction, text);

        if (!line.length && !this.#network.delay) {
            f();

        } else if (line.push({ due, f }) === 1) {
            this.#wait(line);
        }
    }

    #wait(line) {
        setTimeout(() => {
            if (line === this.#lines.in || line === this.#lines.out) {
                line[0].f();
                line.shift();

                if (line.length) {
                    this.#wait(line);
                }
            }
        }, Math.max(0, line[0].due - Date.now()));
    }
}
