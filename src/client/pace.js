/*
 * How often to send what somebody does: pace(hub, kind, send) returns a
 * function that takes values, and calls send with the latest when it is time:
 *
 *   after    ms in which no other value came
 *   every    ms: the first at once, and then the latest of each such time
 *   gather   with every: all values of each such time, as an array
 *
 * kind is one of paces, or such an object. The times are SAVING times as long
 * where the browser saves data, or the network is cellular or slow. A page that
 * is hidden sends what waits, and then nothing until it is seen again.
 */

export const paces = {
    text: { after: 500 },
    slider: { every: 200 },
    checkbox: { after: 0 },
    form: { after: 2000 },
    analytics: { every: 10000, gather: true },
};

const SAVING = 4;
const MOST = 1000;                  /* values that are gathered */

/*
 * The function has flush(), which sends what waits, and stop(), which does so
 * and ends it.
 */

export function pace(hub, kind, send) {
    const { host } = hub;
    const { after, every, gather } = Object(paces[kind] ?? kind);
    let values = [];
    let timer;
    let last = -Infinity;

    if (after === undefined && every === undefined) {
        throw new TypeError(`there is no pace "${kind}"`);
    }

    const flush = () => {
        const sent = values;

        host.clearTimeout(timer);
        timer = undefined;

        if (sent.length) {
            values = [];
            last = host.now();
            send(gather ? sent : sent[0]);
        }
    };

    const plan = () => {
        const times = host.saving() ? SAVING : 1;
        const wait = after !== undefined ? after * times
                   : gather ? every * times
                   : last + every * times - host.now();

        if (after !== undefined) {
            host.clearTimeout(timer);
            timer = undefined;
        }

        if (wait <= 0) {
            flush();

        } else {
            timer ??= host.setTimeout(flush, wait);
        }
    };

    const seen = () => {
        if (host.hidden()) {
            flush();

        } else if (values.length) {
            plan();
        }
    };

    const unlisten = host.listen({ visibilitychange: seen, pagehide: flush });

    const paced = (value) => {
        values = gather ? [...values, value].slice(-MOST) : [value];

        if (!host.hidden()) {
            plan();
        }
    };

    return Object.assign(paced, {
        flush,
        stop() {
            unlisten();
            flush();
        },
    });
}
