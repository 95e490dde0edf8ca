import { setTimeout as sleep } from "node:timers/promises";

import { numberOf, onlyChannel } from "./options.js";

const PATIENCE = 5000;              /* ms for what is on its way at the end */

export const usage = `Usage: fanout bench [OPTION]... CHANNEL

Publishes to a channel that clients of this process have joined, and prints how
long it took, in ms, and what was lost. The messages are kept as others are:
take a channel for it.

  -c, --clients N          that receive: 10
  -r, --rate N             messages a second: 10
  -s, --size N             bytes of each, about: 100
  -d, --duration SECONDS   5
`;

export const options = {
    "clients": { type: "string", short: "c" },
    "rate": { type: "string", short: "r" },
    "size": { type: "string", short: "s" },
    "duration": { type: "string", short: "d" },
};

export async function run(args, session) {
    const name = onlyChannel(args);
    const clients = numberOf(args, "clients", 10, 1);
    const rate = numberOf(args, "rate", 10, 0.001);
    const size = numberOf(args, "size", 100, 1);
    const duration = numberOf(args, "duration", 5, 0.1) * 1000;
    const publisher = await session.connect();
    const hubs = [];
    const delivered = [];
    const run = Math.random().toString(36).slice(2);
    let doubled = 0;
    let gone = 0;

    for (let i = 0; i < clients; i++) {
        hubs.push(await session.connect());
    }

    await Promise.all(hubs.map((hub) => {
        const channel = session.channel(hub, name, { want: ["messages"] });
        const seen = new Set();

        channel.on("lost", () => gone++);
        channel.on("message", ({ data }) => {
            if (data?.bench === run) {
                doubled += seen.has(data.n) ? 1 : 0;
                seen.add(data.n);
                delivered.push(performance.now() - data.at);
            }
        });

        return channel.join();
    }));

    const { sent, failed } = await publish(
        session.channel(publisher, name, {}), { rate, duration, size, run });
    const due = sent.length * clients;
    const until = performance.now() + PATIENCE;

    while (delivered.length < due && performance.now() < until) {
        await sleep(20);
    }

    const result = {
        channel: name, transport: publisher.transport, clients,
        sent: sent.length, failed, received: delivered.length - doubled,
        missing: Math.max(0, due - (delivered.length - doubled)), doubled,
        lost: gone, publish_ms: spread(sent), deliver_ms: spread(delivered),
    };

    session.print(result, ["bench"], result);

    return result.missing || doubled || Object.keys(failed).length ? 1 : 0;
}

/* How long each took, and how many failed by code. */

async function publish(channel, { rate, duration, size, run }) {
    const fill = "x".repeat(Math.max(0, size - 60));
    const begin = performance.now();
    const all = [];
    const sent = [];
    const failed = {};

    for (let n = 0; n / rate * 1000 < duration; n++) {
        const wait = begin + n / rate * 1000 - performance.now();
        const at = await sleep(Math.max(0, wait)).then(
            () => performance.now());

        all.push(channel.publish({ bench: run, n, at, fill }).then(
            () => sent.push(performance.now() - at),
            ({ code }) => failed[code] = (failed[code] || 0) + 1));
    }

    await Promise.all(all);

    return { sent, failed };
}

function spread(all) {
    if (!all.length) {
        return undefined;
    }

    const sorted = [...all].sort((a, b) => a - b);
    const at = (part) => Math.round(100 * sorted[Math.min(
        sorted.length - 1, Math.floor(part * sorted.length))]) / 100;

    return { p50: at(0.5), p99: at(0.99), max: at(1) };
}
