/*
 * soak.js PORT PATH TRANSPORT: clients of src/client that publish to a channel
 * and listen to it, through a proxy of their own. Reads lines: "cut" ends all
 * connections, "off" also refuses new ones until "on", "end" is the end: then
 * it waits until all was sent and received, and prints one line of JSON.
 */

import { createRequire } from "node:module";
import net from "node:net";
import readline from "node:readline";

import { Fanout } from "../../src/client/fanout.js";
import * as all from "../../src/client/fanout.js";

const { WebSocket } = createRequire(process.env.WS_MODULES + "/x")("ws");
const [port, path, transport] = process.argv.slice(2);
const CLIENTS = 4;
const RECORDS = 5;
const sockets = new Set();
let off = false;

process.on("unhandledRejection", (e) => {
    console.log(JSON.stringify({ error: "unhandled: " + e.stack }));
    process.exit(1);
});

setTimeout(() => {
    console.log(JSON.stringify({ error: "it takes too long" }));
    process.exit(1);
}, 180000 * (process.env.TEST_TIMEOUT_SCALE || 1)).unref();

const proxy = net.createServer((socket) => {
    if (off) {
        socket.destroy();
        return;
    }

    const to = net.connect(port, "127.0.0.1");

    for (const [one, other] of [[socket, to], [to, socket]]) {
        sockets.add(one);
        one.pipe(other);
        one.on("error", () => {});
        one.on("close", () => {
            sockets.delete(one);
            other.destroy();
        });
    }
});

const cut = () => sockets.forEach((s) => s.destroy());

function client(i, at) {
    const hub = new Fanout(`http://127.0.0.1:${at}${path}?user=u${i}`, {
        ...transport === "websocket" && { WebSocket },
        use: [all.records, all.locks,
              ...[all.sse, all.poll].filter((t) => t.name === transport)],
        queue: { limit: 100000 },
        backoff: { base: 100, max: 1000 },
    });
    const room = hub.channel("soak-" + transport, { presence: { n: i } });
    const c = { hub, room, got: [], lost: [], sendings: [], states: [],
                leaves: [], sets: [], conflicts: 0, table: room.records };

    /* a text of one's own in each record, and one that all fight for */

    for (let r = 0; r < RECORDS; r++) {
        room.record("r" + r).on("conflict", ({ fields }) => {
            c.conflicts++;

            if ("own" + i in fields) {
                c.lost.push("own field");
            }
        });
    }

    hub.on("state", ({ state }) => c.states.push(state));
    room.on("message", (m) => c.got.push([m.offset, m.data]));
    room.on("lost", (what) => c.lost.push(what));
    room.on("error", (e) => c.lost.push(e.code));
    room.presence.on("leave", (m) => c.leaves.push(m.user + " " + m.reason));

    return c;
}

proxy.listen(0, "127.0.0.1", async () => {
    const clients = [];

    for (let i = 0; i < CLIENTS; i++) {
        clients.push(client(i, proxy.address().port));
    }

    await Promise.all(clients.map((c) => c.room.join()));
    console.log(JSON.stringify({ ready: clients.map((c) => c.hub.transport) }));

    const timer = setInterval(() => {
        const i = Math.floor(Math.random() * CLIENTS);
        const c = clients[i];

        c.sendings.push(c.room.publish(`${i}.${c.sendings.length}`));

        if (Math.random() < 0.3) {
            const record = c.room.record("r" + Math.floor(Math.random()
                                                          * RECORDS));
            const field = Math.random() < 0.5 ? "own" + i : "all";

            c.sets.push(record.set({ [field]: `${i}.${c.sets.length}` }));
        }
    }, 5);

    readline.createInterface({ input: process.stdin }).on("line", (line) => {
        if (line === "cut") {
            cut();

        } else if (line === "off") {
            off = true;
            cut();

        } else if (line === "on") {
            off = false;

        } else {
            clearInterval(timer);
            end(clients);
        }
    });
});

async function end(clients) {
    await Promise.all(clients.flatMap((c) => [...c.sendings, ...c.sets].map(
        (s) => s.done.catch(() => {}))));

    const last = clients[0].room.publish("end");

    await last.done.catch(() => {});

    while (clients.some((c) => c.got.at(-1)?.[1] !== "end")) {
        await new Promise((done) => setTimeout(done, 20));
    }

    console.log(JSON.stringify({
        sent: clients.map((c) => c.sendings.length),
        failed: clients.flatMap((c) => c.sendings)
            .filter((s) => s.state !== "sent").map((s) => s.error.code),
        got: clients.map((c) => c.got),
        lost: clients.flatMap((c) => c.lost),
        states: clients.map((c) => c.states),
        leaves: clients.map((c) => c.leaves),
        tables: clients.map((c) => Object.fromEntries(c.table)),
        pending: clients.map((c) => c.table.pending().length),
        sets: clients.flatMap((c) => c.sets)
            .map((s) => s.error?.code ?? s.state),
        conflicts: clients.map((c) => c.conflicts),
        members: clients.map((c) => c.room.presence.size),
    }));
    clients.forEach((c) => c.hub.close());
    proxy.close();
    cut();
    process.stdin.destroy();
}
