/*
 * Server-sent events and POST, for networks that block WebSockets. A stream
 * that says nothing for a while is held back by a proxy: then it is closed as
 * one that was never open, and the next transport is tried.
 */

import { Stream } from "./stream.js";

const PATIENCE = 4000;              /* ms until the first bytes */

class Events extends Stream {
    accept = "text/event-stream";

    async read(abort) {
        const silent = this.host.setTimeout(
            () => this.end({ opened: false, reason: "buffered" }), PATIENCE);

        try {
            const response = await this.get(abort);
            const reader = response?.body.getReader();
            const decoder = new TextDecoder();
            let text = "";

            while (reader) {
                const { value, done } = await reader.read();

                this.host.clearTimeout(silent);

                if (abort.signal.aborted) {
                    return;
                }

                if (done) {
                    this.end({});
                    return;
                }

                this.alive();
                text += decoder.decode(value, { stream: true });

                const lines = text.split("\n");

                text = lines.pop();

                for (const line of lines) {
                    if (line.startsWith("data: ") && !abort.signal.aborted) {
                        this.take(line.slice(6));
                    }
                }
            }

        } finally {
            this.host.clearTimeout(silent);
        }
    }
}

export const sse = {
    name: "sse",
    usable: (host) => !!host.fetch,
    open: (o) => new Events(o),
};
