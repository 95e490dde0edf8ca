/*
 * Long polls and POST, where streams are held back. Polls get no signals.
 */

import { Stream } from "./stream.js";

class Polls extends Stream {
    accept = "application/json";
    args = { poll: 1, session: 1 };

    async read(abort) {
        let position;

        for (;;) {
            const response = await this.get(
                abort, position ? { since: position } : { timeout: 0 });

            if (!response || abort.signal.aborted) {
                return;
            }

            const text = await response.text();

            position = response.headers.get("Fanout-Position");
            this.take(text);

            if (abort.signal.aborted) {
                return;
            }
        }
    }

    adapt(join) {
        return join.want
            ? { ...join, want: join.want.filter((w) => w !== "signals") }
            : join;
    }
}

export const poll = {
    name: "poll",
    usable: (host) => !!host.fetch,
    open: (o) => new Polls(o),
};
