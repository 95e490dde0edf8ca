/*
 * The messages of a channel, one by one: for await (const m of channel).
 * It is a user of the channel until the loop ends. It ends when the channel is
 * left or the hub closed, throws if the channel fails, and also if the loop is
 * so slow that LIMIT messages wait for it (code slow).
 */

import { FanoutError } from "./errors.js";

const LIMIT = 10000;

export class Messages {
    #messages = [];
    #waiting = [];
    #ends;
    #ended;                         /* true, or an error */

    constructor(channel) {
        this.#ends = [
            channel.on("message", (m) => this.#take(m)),
            channel.on("state", ({ state, error }) => {
                if (state === "idle" || state === "failed") {
                    this.#end(error || true);
                }
            }),
        ];

        if (channel.state === "failed") {
            this.#end(channel.error);
        }
    }

    next() {
        if (this.#messages.length) {
            return Promise.resolve({ value: this.#messages.shift(),
                                     done: false });
        }

        if (this.#ended === true) {
            return Promise.resolve({ value: undefined, done: true });
        }

        if (this.#ended) {
            const error = this.#ended;

            this.#ended = true;
            return Promise.reject(error);
        }

        return new Promise((resolve, reject) => {
            this.#waiting.push({ resolve, reject });
        });
    }

    return(value) {
        this.#messages = [];
        this.#end(true);

        return Promise.resolve({ value, done: true });
    }

    [Symbol.asyncIterator]() {
        return this;
    }

    #take(message) {
        if (this.#waiting.length) {
            this.#waiting.shift().resolve({ value: message, done: false });

        } else if (this.#messages.push(message) >= LIMIT) {
            this.#end(new FanoutError("slow", LIMIT + " messages wait"));
        }
    }

    #end(why) {
        if (this.#ended) {
            return;
        }

        this.#ended = why;
        this.#ends.forEach((end) => end());

        for (const { resolve, reject } of this.#waiting.splice(0)) {
            if (why === true) {
                resolve({ value: undefined, done: true });

            } else {
                this.#ended = true;
                reject(why);
            }
        }
    }
}
