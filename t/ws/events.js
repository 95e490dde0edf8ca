/*
 * The client of npm's "@microsoft/fetch-event-source" for t/sse_clients.t: node
 * events.js URL reads the stream as a page does that follows its README, and
 * prints what it is called with, a line of JSON each.
 */

"use strict";

globalThis.window = globalThis;
globalThis.document = { addEventListener() {}, removeEventListener() {} };

const { fetchEventSource } = require("@microsoft/fetch-event-source");

const say = (what) => console.log(JSON.stringify(what));

// not for ever, whatever becomes of the test
setTimeout(() => process.exit(1),
           300000 * (process.env.TEST_TIMEOUT_SCALE || 1));

fetchEventSource(process.argv[2], {
    openWhenHidden: true,
    headers: { "Accept-Encoding": "gzip" },

    async onopen(response) {
        say({ open: response.status });
    },

    onmessage(event) {
        say({ id: event.id, message: JSON.parse(event.data) });
    },

    onclose() {
        throw new Error("the end");
    },

    onerror(error) {
        say({ error: error.message });
        return 100;
    },
});
