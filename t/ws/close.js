/*
 * Clients with npm's "ws" for t/close_codes.t: node close.js URL SIZES opens a
 * connection for each size, sends a text as large, and prints the close codes.
 */

"use strict";

const WebSocket = require("ws");

const [url, sizes] = process.argv.slice(2);

function code(message) {
    return new Promise((done) => {
        const ws = new WebSocket(url, {
            perMessageDeflate: false, rejectUnauthorized: false
        });

        ws.on("open", () => ws.send(message));
        ws.on("error", () => {});
        ws.on("close", done);
    });
}

async function run() {
    const codes = [];

    for (const size of JSON.parse(sizes)) {
        codes.push(await code("x".repeat(size)));
    }

    console.log(JSON.stringify(codes));
    process.exit(0);
}

setTimeout(() => { console.log("[]"); process.exit(1); },
           30000 * (process.env.TEST_TIMEOUT_SCALE || 1));

run();
