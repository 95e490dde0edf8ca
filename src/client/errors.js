/*
 * An error with the code of the server (docs/protocol.md#errors), or one of the
 * client: disconnected, closed, queue_full, slow, timeout, unreachable.
 * data is what the server adds, such as {limit, max} or {retry_after}.
 */

export class FanoutError extends Error {
    constructor(code, message, data) {
        super(message || code);
        this.name = "FanoutError";
        this.code = code;
        this.data = data;
    }
}

/* An error of the protocol: {code, message, data}. */

export function errorOf(e) {
    return new FanoutError(e.code, e.message, e.data);
}

/* Whether the same command may succeed later. */

const passing = ["rate_limited", "zone_full", "internal", "unavailable",
                 "busy", "hook_failed"];

export function isPassing(error) {
    return passing.includes(error.code);
}
