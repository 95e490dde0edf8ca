/*
 * Signals: cursors, who is typing (docs/protocol.md#signal).
 *
 *     channel.signal(event, data, { tag, to, every })
 *
 * sends at most one of each event, tag and recipient in every ms (50 by
 * default): the first at once, then the latest. Without a connection a signal
 * is dropped, and so the result is false. They come by channel.on("signal").
 */

const EVERY = 50;

export const signals = {
    name: "signals",
    part: (channel, hub) => new Signals(channel, hub),
};

class Signals {
    #channel;
    #hub;
    #waiting = new Map();           /* name: {timer, command} */

    constructor(channel, hub) {
        this.#channel = channel;
        this.#hub = hub;
        channel.signal = (...args) => this.#signal(...args);
    }

    /* From the channel. */

    ended() {
        for (const { timer } of this.#waiting.values()) {
            this.#hub.host.clearTimeout(timer);
        }

        this.#waiting.clear();
    }

    #signal(event, data, { every = EVERY, ...options } = {}) {
        const { name: channel } = this.#channel;
        const command = { op: "signal", channel, event, data, ...options };
        const name = JSON.stringify([event, options.tag, options.to]);
        const waiting = this.#waiting.get(name);

        if (!this.#hub.connected) {
            return false;
        }

        if (waiting) {
            waiting.command = command;

        } else {
            this.#send(name, command, every);
        }

        return true;
    }

    #send(name, command, every) {
        const { connection, host } = this.#hub;
        const waiting = {};

        connection.send(command);
        this.#waiting.set(name, waiting);

        waiting.timer = host.setTimeout(() => {
            this.#waiting.delete(name);

            if (waiting.command) {
                this.#send(name, waiting.command, every);
            }
        }, every);
    }
}
