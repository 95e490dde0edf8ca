/*
 * A live map of a channel, which only the client writes. A listener uses the
 * channel. Event "change", with the map, at most once in each picture.
 */

import { Emitter } from "./emitter.js";

export class View extends Emitter {
    #channel;
    #host;
    #map;
    #drawn = false;

    /* The owner of the map writes it, and calls changed(). */

    constructor(channel, host, map) {
        super();
        this.#channel = channel;
        this.#host = host;
        this.#map = map;
    }

    get size() { return this.#map.size; }
    get(name) { return this.#map.get(name); }
    has(name) { return this.#map.has(name); }
    keys() { return this.#map.keys(); }
    values() { return this.#map.values(); }
    entries() { return this.#map.entries(); }
    forEach(f) { this.#map.forEach((value, name) => f(value, name, this)); }
    [Symbol.iterator]() { return this.#map.entries(); }

    on(event, listener) {
        const off = super.on(event, listener);
        const end = this.#channel.use();

        return () => {
            off();
            end();
        };
    }

    changed() {
        if (!this.#drawn) {
            this.#drawn = true;
            this.#host.frame(() => {
                this.#drawn = false;
                this.emit("change", this);
            });
        }
    }
}
