/* States, backoff, resume, tokens, silence: src/client/connection.js. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { World } from "./world.js";

function states(hub) {
    const all = [];

    hub.on("state", ({ state, reason }) => {
        all.push(state + (reason ? ":" + reason.code : ""));
    });

    return all;
}

test("connects, and knows who it is", async () => {
    const world = new World();
    const hub = world.hub();
    const told = states(hub);

    await world.pass(100);
    assert.deepEqual(told, ["connecting", "connected"]);
    assert.equal(hub.client, "c_1");
    assert.equal(hub.user, "ann");
    assert.equal(hub.limits.channels, 50);
    assert.equal(hub.transport, "websocket");
    assert.deepEqual(world.server.sockets[0].protocols, ["fanout.v1"]);
    assert.equal(world.server.sockets[0].url,
                 "ws://test/realtime?heartbeat=1");
});

test("the server's time, and the way there", async () => {
    const world = new World();
    const hub = world.hub();

    world.server.delay = 40;
    await world.pass(1000);
    assert.equal(hub.rtt, 80);
    assert.equal(hub.serverTime(), world.now + world.ahead);
});

test("resumes after a cut, with its token", async () => {
    const world = new World();
    const hub = world.hub();
    const told = states(hub);

    await world.pass(100);
    world.server.socket.cut();
    await world.pass(1000);

    assert.deepEqual(told, ["connecting", "connected",
                            "reconnecting:disconnected", "connected"]);
    assert.deepEqual(world.server.sockets[1].protocols,
                     ["fanout.v1", "fanout.resume.r_1"]);
    assert.equal(hub.client, "c_1");
});

test("backs off by chance, at most to the longest pause", async () => {
    const world = new World();
    const times = [];

    world.server.refuses = true;
    world.server.connects = (socket) => {
        times.push(world.now);
        socket.gone = true;
        socket.onclose({ code: 1006, reason: "" });
    };
    world.luck = 0.999999;

    const hub = world.hub();
    await world.pass(200000);

    const pauses = times.slice(1).map((t, i) => t - times[i] - 10);

    assert.deepEqual(pauses.slice(0, 7).map(Math.round),
                     [500, 1000, 2000, 4000, 8000, 16000, 30000]);
    assert.ok(Math.max(...pauses) <= 30000);
    assert.equal(hub.state, "suspended", "after two minutes");
});

test("comes back when the server says", async () => {
    const world = new World();
    const hub = world.hub();

    await world.pass(100);
    world.server.socket.say({ closing: { code: "drain", reconnect: true,
                                         after: 7000 } });
    await world.pass(100);
    world.server.socket.cut(1012, "restart");
    await world.pass(6900);
    assert.equal(world.server.sockets.length, 1);
    assert.equal(hub.reason.code, "drain");
    await world.pass(200);
    assert.equal(hub.state, "connected");
});

test("a crowd is met with patience", async () => {
    const world = new World();
    const hub = world.hub();

    world.luck = 0;
    await world.pass(100);
    world.server.socket.cut(4429, "too many pings");
    await world.pass(2000);
    assert.equal(hub.state, "reconnecting");
    await world.pass(1000);
    assert.equal(hub.state, "connected");
});

for (const [code, text] of [[4403, "blocked"], [4409, "replaced"]]) {
    test("ends by " + code, async () => {
        const world = new World();
        const hub = world.hub();

        await world.pass(100);
        world.server.socket.cut(code, text);
        await world.pass(100000);
        assert.equal(hub.state, "closed");
        assert.equal(hub.reason.code, text);
        assert.equal(world.server.sockets.length, 1);
        assert.equal(world.timers, 0, "no timer is left");

        hub.connect();
        await world.pass(100);
        assert.equal(hub.state, "connected", "and can begin anew");
        assert.deepEqual(world.server.socket.protocols, ["fanout.v1"]);
    });
}

test("close() says goodbye", async () => {
    const world = new World();
    const hub = world.hub();

    await world.pass(100);
    hub.close();
    assert.equal(world.server.sockets[0].end, 1000);
    await world.pass(100000);
    assert.equal(hub.state, "closed");
    assert.equal(world.timers, 0);
    assert.equal(Object.values(world.listeners).flat().length, 2);
});

test("a token of a provider, asked each time", async () => {
    const world = new World();
    let n = 0;
    const hub = world.hub({ token: async () => "t" + ++n });

    await world.pass(100);
    assert.deepEqual(world.server.socket.protocols,
                     ["fanout.v1", "fanout.token.t1"]);

    world.server.socket.cut(4401, "expired");
    await world.pass(1000);
    assert.equal(hub.state, "connected");
    assert.ok(world.server.socket.protocols.includes("fanout.token.t2"));
});

test("a token as the first command", async () => {
    const world = new World();

    world.hub({ token: "secret", tokenBy: "command" });
    await world.pass(100);
    assert.deepEqual(world.server.socket.protocols, ["fanout.v1"]);
    assert.deepEqual(world.server.socket.sent[0],
                     { op: "auth", token: "secret" });
});

test("tokens that are refused end it", async () => {
    const world = new World();
    const hub = world.hub({ token: () => "wrong" });

    world.server.connects = (socket) => {
        socket.open = true;
        socket.onopen();
        socket.cut(4401, "no token");
    };
    await world.pass(100000);
    assert.equal(hub.state, "closed");
    assert.equal(hub.reason.code, "unauthorized");
    assert.equal(world.server.sockets.length, 3);
});

test("without a provider 4401 ends it at once", async () => {
    const world = new World();
    const hub = world.hub({ token: "static" });

    await world.pass(100);
    world.server.socket.cut(4401, "expired");
    await world.pass(10);
    assert.equal(hub.state, "closed");
});

test("a provider that fails, or never answers, is asked again", async () => {
    const world = new World();
    let n = 0;
    const hub = world.hub({
        token: () => {
            if (++n === 1) {
                throw new Error("offline");
            }

            return n === 2 ? new Promise(() => {}) : "t3";
        },
    });

    await world.pass(1000);
    assert.equal(hub.reason.code, "token");
    await world.pass(60000);
    assert.equal(n, 3);
    assert.equal(hub.state, "connected");
});

test("a token is renewed in place before it ends", async () => {
    const world = new World();
    let n = 0;

    world.server.welcome = { expires: world.now + world.ahead + 600000 };
    world.server.expires = world.now + world.ahead + 1200000;
    const hub = world.hub({ token: () => "t" + ++n });

    await world.pass(569000);
    assert.equal(n, 1);
    await world.pass(2000);
    assert.equal(n, 2);
    assert.equal(hub.state, "connected");

    const auth = world.server.commands.filter((c) => c.op === "auth");

    assert.deepEqual(auth.map((c) => c.token), ["t2"]);
    assert.equal(world.server.sockets.length, 1);

    await world.pass(600000);
    assert.equal(n, 3, "and again");

    world.server.socket.say({ expiring: { in: 30000 } });
    await world.pass(100);
    assert.equal(n, 4, "and when the server says so");
});

test("a server that is silent is asked, then left", async () => {
    const world = new World();
    const hub = world.hub();
    const told = states(hub);

    await world.pass(1000);
    world.server.socket.mute = true;
    await world.pass(29500);
    assert.equal(world.server.commands.filter((c) => c.op === "ping").length,
                 2, "one at the start, one now");
    await world.pass(11000);
    assert.deepEqual(told.slice(2), ["reconnecting:silent", "connected"]);
});

test("heartbeats keep it", async () => {
    const world = new World();
    const hub = world.hub();

    await world.pass(1000);

    for (let i = 0; i < 10; i++) {
        world.server.socket.say({ ping: world.now });
        await world.pass(25000);
    }

    assert.equal(world.server.commands.filter((c) => c.op === "ping").length,
                 1);
    assert.equal(hub.state, "connected");
});

test("offline it waits, online it comes at once", async () => {
    const world = new World();
    const hub = world.hub();

    await world.pass(100);
    world.isOnline = false;
    world.server.refuses = true;
    world.server.socket.cut();
    await world.pass(100000);
    assert.equal(hub.state, "suspended");
    assert.ok(world.server.sockets.length <= 5, "tries are seldom");

    world.isOnline = true;
    world.server.refuses = false;
    await world.happens("online");
    await world.pass(50);
    assert.equal(hub.state, "connected");
});

test("a frozen page, and one from the cache", async () => {
    const world = new World();
    const hub = world.hub();

    await world.pass(100);
    await world.happens("freeze");
    assert.equal(hub.state, "suspended");
    assert.equal(world.server.sockets[0].end, 4001);
    await world.pass(3600000);
    assert.equal(world.server.sockets.length, 1);
    await world.happens("resume");
    await world.pass(50);
    assert.equal(hub.state, "connected");

    await world.happens("pagehide", { persisted: true });
    assert.equal(hub.state, "suspended");
    await world.happens("pageshow", { persisted: true });
    await world.pass(50);
    assert.equal(hub.state, "connected");
});

test("F5 is the same client, a copy of the tab another", async () => {
    const world = new World();

    world.hub();
    await world.pass(100);
    assert.equal(world.session.items.size, 0, "a live page keeps it");
    await world.happens("pagehide", { persisted: false });
    assert.equal(world.session.items.size, 1);

    const again = world.hub();
    assert.equal(world.session.items.size, 0);
    await world.pass(100);
    assert.equal(again.client, "c_1");

    await world.happens("pagehide", { persisted: false });
    await world.pass(301000);

    const late = world.hub();
    await world.pass(100);
    assert.notEqual(late.client, "c_1", "not for ever");
});

test("broken frames, and a storage that is denied", async () => {
    const world = new World();

    world.session.broken = new Error("denied");
    const hub = world.hub();
    await world.pass(100);
    assert.equal(hub.state, "connected");
    await world.happens("pagehide", { persisted: false });

    world.server.socket.onmessage({ data: "{" });
    await world.pass(1000);
    assert.equal(hub.state, "connected");
    assert.equal(world.server.sockets.length, 2);
});

test("commands that wait learn of a cut", async () => {
    const world = new World();
    const hub = world.hub();

    await world.pass(100);
    world.server.instead = () => true;
    const waiting = hub.connection.request({ op: "ping" });
    world.server.socket.cut();
    await assert.rejects(waiting, { code: "disconnected" });
    await assert.rejects(hub.connection.request({ op: "ping" }),
                         { code: "disconnected" });
});

test("frames fit the server's limits", async () => {
    const world = new World();

    world.server.limits = { message: 2000, batch: 10 };
    const hub = world.hub();

    await world.pass(100);
    const before = world.server.socket.sent.length;

    for (let i = 0; i < 25; i++) {
        hub.connection.request({ op: "ping" }).catch(() => {});
    }

    hub.connection.request({ op: "ping", x: "y".repeat(1900) })
        .catch(() => {});
    await world.pass(100);
    assert.deepEqual(world.server.socket.sent.slice(before)
                         .map((f) => [].concat(f).length), [10, 10, 5, 1]);
});

test("a welcome that never comes", async () => {
    const world = new World();

    world.server.connects = (socket) => {
        socket.open = true;
        socket.onopen();
    };
    const hub = world.hub();
    await world.pass(16000);
    assert.ok(world.server.sockets.length >= 2);
    assert.equal(hub.state, "connecting");
});

/* A transport of which a test says what becomes of it. */

function transport(name, opened) {
    return {
        name,
        usable: () => true,
        open: (o) => {
            opened.push([name, o]);

            return {
                send: (commands) => commands.forEach(({ id, op }) => {
                    o.alive();
                    o.frame({ id, ok: op === "ping" ? { time: 0 } : {} });
                }),
                close: () => o.left = true,
            };
        },
    };
}

const welcome = { welcome: { client: "c_5", resume: "r_5", time: 0,
                             limits: {} } };

test("a network that blocks WebSockets, then streams; and back", async () => {
    const world = new World();
    const opened = [];
    const hub = world.hub({ use: [transport("sse", opened),
                                  transport("poll", opened)] });

    world.server.refuses = true;
    await world.pass(300);
    assert.equal(opened[0][0], "sse");
    opened[0][1].closed({ opened: false, reason: "buffered" });
    await world.pass(600);
    assert.equal(opened[1][0], "poll");
    opened[1][1].frame(welcome);
    await world.pass(0);
    assert.equal(hub.transport, "poll");
    assert.equal(hub.state, "connected");

    const tries = world.server.sockets.length;

    await world.pass(61000);
    assert.equal(world.server.sockets.length, tries + 1, "one is tried");
    assert.equal(hub.transport, "poll");

    world.server.refuses = false;
    await world.pass(121000);
    assert.equal(hub.transport, "websocket");
    assert.equal(hub.state, "connected");
    assert.equal(opened[1][1].left, true);
    assert.ok(world.server.socket.protocols.includes("fanout.resume.r_5"));
});

test("a network that is down says nothing of the next", async () => {
    const world = new World();
    const opened = [];

    world.server.refuses = true;
    world.hub({ use: [transport("sse", opened)] });
    await world.pass(300);
    opened[0][1].closed({ opened: true, unreachable: true, code: 1006 });
    world.server.refuses = false;

    const before = world.server.sockets.length;

    await world.pass(2000);
    assert.equal(world.server.sockets.length, before + 1);
    assert.equal(opened.length, 1);
});

test("a stream that is refused says when to come back", async () => {
    const world = new World();
    const opened = [];
    const hub = world.hub({ use: [transport("sse", opened)] });

    world.server.refuses = true;
    await world.pass(300);
    opened[0][1].closed({ opened: true, code: 1006, reason: "rate_limited",
                          retryAfter: 9000 });
    assert.equal(hub.reason.code, "rate_limited");
    await world.pass(8900);
    assert.equal(opened.length, 1);
    await world.pass(200);
    assert.equal(opened.length, 2);
});

test("a server that hurries gets no more of it", async () => {
    for (const after of [0, "x", -1, null, NaN]) {
        const world = new World();

        world.luck = 0.999999;
        world.server.connects = (socket) => {
            socket.open = true;
            socket.onopen?.({});
            socket.say({ closing: { code: "moved", after } });
            socket.later(() => socket.cut(1012), "down");
        };

        const hub = world.hub();

        await world.pass(60000);
        assert.ok(world.server.sockets.length < 12,
                  `${after}: ${world.server.sockets.length} connections`);
        hub.close();
    }
});

test("a token that has ended already is renewed seldom", async () => {
    const world = new World();
    let n = 0;

    world.server.welcome = { expires: world.now + 10000 };
    world.server.expires = world.now;
    world.hub({ token: () => "t" + ++n });
    await world.pass(30000);

    assert.ok(n > 2 && n < 35, n + " tokens in 30 s");
});

test("a provider may reject with anything, at any time", async () => {
    for (const why of [undefined, null, "late", { code: 7 }]) {
        const world = new World();
        let n = 0;

        world.server.welcome = { expires: world.now + 10000 };

        const errors = [];
        const hub = world.hub({
            token: () => n++ ? Promise.reject(why) : "t0",
        });

        hub.on("error", (e) => errors.push(e.code));
        await world.pass(15000);
        assert.deepEqual([...new Set(errors)], ["token"]);
        assert.equal(hub.state, "connected");
    }
});

test("a reply without a result is not waited for for ever", async () => {
    const world = new World();
    const hub = world.hub();
    let n = 0;

    await world.pass(100);
    world.server.instead = ({ op }) => op === "publish" && !n++ ? {} : null;

    const first = hub.channel("a").publish(1);
    const second = hub.channel("a").publish(2);

    await world.pass(30000);
    assert.deepEqual([first.state, second.state], ["sent", "sent"]);
    assert.equal(hub.queue.size, 0);
});

test("a welcome without limits has none", async () => {
    const world = new World();

    world.server.welcome = { limits: undefined };

    const sent = world.hub().channel("a").publish(1);

    await world.pass(1000);
    assert.equal(sent.state, "sent");
});
