/*
 * The client in parts, for bundlers: what is not imported is not in the bundle.
 *
 *     import { Fanout, records, sse } from "nginx-fanout-client/core.js";
 *
 *     const hub = new Fanout("/realtime", { use: [records, sse] });
 *
 * fanout.js has all of it.
 */

export { FanoutError } from "./errors.js";
export { Fanout } from "./hub.js";
export { locks } from "./locks.js";
export { records } from "./records.js";
export { signals } from "./signals.js";
export { poll } from "./transports/poll.js";
export { sse } from "./transports/sse.js";
export { websocket } from "./transports/websocket.js";
