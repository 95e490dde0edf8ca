/*
 * Events. on() returns a function that removes the listener. What a listener
 * throws is reported, and stops neither the others nor the client.
 */

export class Emitter {
    #listeners = new Map();

    on(event, listener) {
        const all = this.#listeners;

        if (!all.has(event)) {
            all.set(event, new Set());
        }

        /* an object of its own, as a function may be added twice */

        const entry = [listener];
        all.get(event).add(entry);

        return () => all.get(event).delete(entry);
    }

    emit(event, value) {
        for (const [listener] of [...this.#listeners.get(event) || []]) {
            try {
                const result = listener(value);

                if (result && result.then) {
                    result.then(null, report);
                }

            } catch (e) {
                report(e);
            }
        }
    }
}

/* An error of the application: told as if nobody had caught it. */

function report(e) {
    if (globalThis.reportError) {
        globalThis.reportError(e);

    } else {
        console.error(e);
    }
}
