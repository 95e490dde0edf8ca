/*
 * What the client needs of its surroundings. Tests replace all of it: then time
 * passes when they say so. Whatever is missing, or throws when it is looked at
 * (storage in a frame without cookies), is undefined.
 */

const global = globalThis;

function find(get) {
    try {
        return get();

    } catch (e) {
        return undefined;
    }
}

export function hostOf(replaced) {
    const page = global.document;

    return {
        now: () => Date.now(),
        setTimeout: (f, ms) => global.setTimeout(f, ms),
        clearTimeout: (timer) => global.clearTimeout(timer),
        random: () => Math.random(),
        WebSocket: global.WebSocket,
        fetch: global.fetch && ((...args) => global.fetch(...args)),
        local: find(() => global.localStorage),
        session: find(() => global.sessionStorage),
        base: find(() => global.location.href),
        online: () => !global.navigator || global.navigator.onLine !== false,

        hidden: () => !!page?.hidden,

        /* Whether the network is better used little. */

        saving() {
            const { saveData, type, effectiveType }
                = global.navigator?.connection || {};

            return !!saveData || type === "cellular"
                   || /2g$/.test(effectiveType);
        },

        /* Calls f before the next picture, or soon when there is none. */

        frame: (f) => page && !page.hidden && global.requestAnimationFrame
                      ? global.requestAnimationFrame(f)
                      : global.setTimeout(f, 16),

        /* Listens to the page and its window. Returns what ends that. */

        listen(listeners) {
            const all = page && global.addEventListener
                        ? Object.entries(listeners) : [];

            for (const [event, f] of all) {
                global.addEventListener(event, f, true);
            }

            return () => {
                for (const [event, f] of all) {
                    global.removeEventListener(event, f, true);
                }
            };
        },

        ...replaced,
    };
}

/* 96 random bits, as letters and digits. Not a secret: see host.random. */

export function randomKey() {
    const bytes = new Uint8Array(12);

    if (global.crypto) {
        global.crypto.getRandomValues(bytes);

    } else {
        bytes.forEach((_, i) => bytes[i] = Math.random() * 256);
    }

    return Array.from(bytes, (b) => (b + 256).toString(36).slice(-2)).join("");
}

/* Bytes of a text as UTF-8. */

export function byteLength(text) {
    return new TextEncoder().encode(text).length;
}
