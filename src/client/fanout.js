/*
 * The client of nginx-fanout, see docs/client.md:
 *
 *     import { Fanout } from "./fanout.js";
 *
 *     const hub = new Fanout("/realtime");
 *     const room = hub.channel("room:1", { history: 20 });
 *
 *     for await (const message of room) ...
 */

export * from "./core.js";
