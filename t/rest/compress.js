/*
 * A development server for t/sse_clients.t: node compress.js PORT proxies to
 * that port and compresses what it may, and prints the port where it listens.
 */

"use strict";

const http = require("http");
const { pipeline } = require("stream");
const express = require("express");
const compression = require("compression");

const app = express();

app.use(compression());

app.use((request, response) => {
    const { method, headers, originalUrl: path } = request;
    const up = http.request({
        host: "127.0.0.1", port: process.argv[2], method, path, headers,
    });

    up.on("response", (r) => {
        response.writeHead(r.statusCode, r.headers);
        pipeline(r, response, () => {});
    });

    up.on("error", () => response.destroy());
    response.on("close", () => up.destroy());
    request.pipe(up);
});

// not for ever, whatever becomes of the test
setTimeout(() => process.exit(1),
           300000 * (process.env.TEST_TIMEOUT_SCALE || 1));

const server = app.listen(0, "127.0.0.1", () => {
    console.log(server.address().port);
});
