/*
 * A client with npm's "ws" for t/deflate_clients.t: node echo.js URL OPTIONS
 * SIZES sends a text and a binary message of each size to a raw channel and
 * prints {"extensions", "same": how many came back as they were, "deflated":
 * how many of those did}, or {"error"}.
 */

"use strict";

const WebSocket = require("ws");

const [url, options, sizes] = process.argv.slice(2);
const messages = [];

function text(size, seed) {
    let s = "";

    for (let n = seed; s.length < size; n = (n * 48271) % 2147483647) {
        s += `{"id":${n},"état":"ok"},`;
    }

    return s.slice(0, size);
}

for (const size of JSON.parse(sizes)) {
    messages.push(text(size, size + 1));
    messages.push(Buffer.from(text(size, size + 2)));
}

const ws = new WebSocket(url, {
    perMessageDeflate: JSON.parse(options), rejectUnauthorized: false
});

const timer = setTimeout(() => finish({ error: "timed out" }),
                         20000 * (process.env.TEST_TIMEOUT_SCALE || 1));

let same = 0;
let deflated = 0;
let next = 0;
let extensions = "none";

function finish(result) {
    clearTimeout(timer);
    console.log(JSON.stringify(result));
    ws.terminate();
}

function send() {
    if (next === messages.length) {
        finish({ extensions, same, deflated });
        return;
    }

    ws.send(messages[next], (e) => e && finish({ error: String(e) }));
}

// the first byte of a frame is only seen below the library

ws.on("upgrade", (response) => {
    let rest = Buffer.alloc(0);

    extensions = response.headers["sec-websocket-extensions"] || extensions;

    response.socket.prependListener("data", (chunk) => {
        rest = Buffer.concat([rest, chunk]);

        while (rest.length > 1) {
            let head = 2;
            let length = rest[1] & 127;

            if (length === 126) {
                if (rest.length < 4) { return; }
                length = rest.readUInt16BE(2);
                head = 4;

            } else if (length === 127) {
                if (rest.length < 10) { return; }
                length = Number(rest.readBigUInt64BE(2));
                head = 10;
            }

            if (rest.length < head + length) { return; }

            deflated += (rest[0] & 0x40) ? 1 : 0;
            rest = rest.subarray(head + length);
        }
    });
});

ws.on("open", send);
ws.on("error", (e) => finish({ error: String(e) }));
ws.on("close", (code) => next < messages.length
                         && finish({ error: "closed: " + code }));

ws.on("message", (data, binary) => {
    const want = messages[next++];

    if (binary === (typeof want !== "string")
        && Buffer.from(want).equals(data))
    {
        same++;
    }

    send();
});
