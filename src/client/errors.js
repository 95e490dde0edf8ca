/*
 * An error with the code of the server (docs/protocol.md#errors), or one of the
 * client: disconnected, closed, queue_full, slow, timeout, unreachable, token.
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

/* What a token provider has thrown, which may be anything. */

export function tokenError(e) {
    return e instanceof FanoutError ? e
         : new FanoutError("token", String(e?.message ?? e));
}

/* Whether the same command may succeed later. */

const passing = ["rate_limited", "zone_full", "internal", "unavailable",
                 "busy", "hook_failed", "token", "timeout"];

export function isPassing(error) {
    return passing.includes(error.code);
}
