/*
 * The client of nginx-fanout with all its features, see docs/client.md:
 *
 *     import { Fanout } from "./fanout.js";
 *
 *     const hub = new Fanout("/realtime");
 *     const room = hub.channel("room:1", { history: 20 });
 *
 *     for await (const message of room) ...
 */

import { Fanout as Hub, locks, poll, records, signals, sse } from "./core.js";

export * from "./core.js";

export class Fanout extends Hub {
    constructor(url, options) {
        super(url, { use: [sse, poll, records, locks, signals], ...options });
    }
}
