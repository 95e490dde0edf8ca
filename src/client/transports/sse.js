/*
 * Server-sent events and POST, for networks that block WebSockets. A stream
 * that says nothing for a while is held back by a proxy: then it is closed as
 * one that was never open, and the next transport is tried.
 */

import { Stream } from "./stream.js";

const PATIENCE = 4000;              /* ms until the first bytes */
const LINE = 1 << 24;               /* the longest line */

class Events extends Stream {
    accept = "text/event-stream";
    #probing = false;

    async read(abort) {
        if (this.isNew && !await this.#probe(abort)) {
            return;
        }

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

                if (text.length > LINE) {
                    throw new Error("a line without end");
                }

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

    /*
     * Whether a stream flows, by one that makes no member: of a client that
     * never learns who it is, others would see a member that nobody ends.
     */

    async #probe(abort) {
        const probe = new AbortController();
        const silent = this.host.setTimeout(() => {
            this.end({ opened: false, reason: "buffered" });
            probe.abort();
        }, PATIENCE);

        abort.signal.addEventListener("abort", () => probe.abort());
        this.#probing = true;

        try {
            const response = await this.get(probe);

            return !!response && !(await response.body.getReader().read()).done;

        } finally {
            this.#probing = false;
            this.host.clearTimeout(silent);
            probe.abort();
        }
    }

    adapt({ presence, ...join }) {
        return this.#probing || presence === undefined
            ? join : { ...join, presence };
    }
}

export const sse = {
    name: "sse",
    usable: (host) => !!host.fetch,
    open: (o) => new Events(o),
};
