/*
 * One run of a command: the hub that its options name, the signals that end
 * it, and what is told about the connection.
 */

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

import { Fanout, poll, signals, sse } from "../core.js";
import { complain, printer, text } from "./output.js";

const PACKAGE = new URL("../package.json", import.meta.url);

export class Session {
    static version = JSON.parse(readFileSync(PACKAGE, "utf8")).version;

    #options;
    #hubs = [];
    #finish;
    #told = false;

    /* resolves with the exit code, or rejects with what went wrong */
    ended = new Promise((resolve, reject) => {
        this.#finish = { resolve, reject };
    });

    constructor(options) {
        this.#options = options;
        this.print = printer(options.format);

        if (!options.headers.has("User-Agent")) {
            options.headers.set("User-Agent", "fanout/" + Session.version);
        }
    }

    async run(command) {
        const signal = (code) => {
            if (this.#told) {
                process.exit(code);
            }

            this.#told = true;
            this.end(code);
        };

        process.on("SIGINT", () => signal(130));
        process.on("SIGTERM", () => signal(143));

        try {
            command.run(this.#options, this).then((code) => this.end(code),
                                                  (e) => this.fail(e));

            return await this.ended;

        } finally {
            this.#told = true;
            this.#hubs.forEach((hub) => hub.close());
            process.stdin.destroy();
        }
    }

    /* Ends the command. A code that is undefined does not. */

    end(code) {
        if (code !== undefined) {
            this.#finish.resolve(code);
        }
    }

    fail(error) {
        this.#finish.reject(error);
    }

    complain(text) {
        complain(text);
    }

    /* A hub that is connected. Later it comes back by itself. */

    async connect() {
        const { url, token, quiet, timeout } = this.#options;
        const hub = new Fanout(url, { token, storage: null,
                                      queue: { limit: 10000 },
                                      ...this.#ways() });

        this.#hubs.push(hub);
        hub.on("error", (e) => complain(`${e.code}: ${e.message}`));

        await new Promise((resolve, reject) => {
            const late = setTimeout(() => reject(new Error(
                `no connection to ${url.replace(/\?.*/, "")}`
                + said(hub.reason))), timeout * 1000);

            this.ended.then(resolve, resolve).then(() => clearTimeout(late));

            hub.on("state", ({ state, reason }) => {
                if (state === "connected") {
                    clearTimeout(late);
                    resolve();

                } else if (state === "closed" && !this.#told) {
                    clearTimeout(late);
                    reject(new Error("closed" + said(reason)));
                    this.fail(new Error("closed" + said(reason)));
                }
            });
        });

        if (!quiet) {
            hub.on("state", ({ state, reason }) => {
                if (state !== "closed") {
                    complain(state + said(reason));
                }
            });
        }

        return hub;
    }

    /* The channel, with what ends the command when it can't be had. */

    channel(hub, name, options) {
        const channel = hub.channel(name, {
            token: this.#options["channel-token"], ...options,
        });

        channel.on("error", (e) => {
            const error = new Error(`${name}: ${e.code}: ${e.message}`);

            if (channel.state === "failed") {
                this.fail(error);

            } else {
                complain(error.message);
            }
        });

        return channel;
    }

    #ways() {
        const { transport, headers } = this.#options;
        const WebSocket = /^(sse|poll)$/.test(transport) ? undefined
                          : webSocketWith(Object.fromEntries(headers));
        const all = { sse: [sse], poll: [poll], websocket: [] };

        if (transport === "websocket" && !WebSocket) {
            throw new Error("this Node has no WebSocket: Node 22 has, or"
                            + " install the package ws");
        }

        return {
            use: [signals, ...all[transport] ?? [sse, poll]],
            host: { WebSocket },
            fetch: (url, init) => fetch(url, {
                ...init, headers: merged(init.headers, headers),
            }),
        };
    }
}

function said(reason) {
    const { code, message } = reason || {};

    return !code ? "" : ": " + text(code)
        + (message && message !== code ? ": " + text(message) : "");
}

function merged(own, given) {
    const all = new Headers(own);

    given.forEach((value, name) => all.set(name, value));

    return all;
}

/* Node's, or that of the package ws; both take headers, each in its way. */

function webSocketWith(headers) {
    if (globalThis.WebSocket) {
        return class extends globalThis.WebSocket {
            constructor(url, protocols) {
                super(url, { protocols, headers });
            }
        };
    }

    try {
        const { WebSocket } = createRequire(import.meta.url)("ws");

        return class extends WebSocket {
            constructor(url, protocols) {
                super(url, protocols, { headers });
            }
        };

    } catch (e) {
        return undefined;
    }
}
