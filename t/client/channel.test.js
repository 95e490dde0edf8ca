/* Joins that are shared, positions, lost messages, iteration, members. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { World } from "./world.js";

const joins = (world) => world.server.commands.filter((c) => c.op === "join");

function collect(channel, event = "message") {
    const all = [];

    channel.on(event, (m) => all.push(event === "message" ? m.data : m));

    return all;
}

test("a channel is joined once for all who use it", async () => {
    const world = new World();
    const hub = world.hub();
    const room = hub.channel("room:1", { history: 2 });

    for (let i = 1; i <= 3; i++) {
        world.server.append("room:1", { data: i });
    }

    assert.equal(hub.channel("room:1"), room);
    await world.pass(100);
    assert.equal(joins(world).length, 0, "not before it is used");

    const one = collect(room);
    const two = collect(room);

    await world.pass(100);
    assert.deepEqual(joins(world).map(({ id, ...c }) => c),
                     [{ op: "join", channel: "room:1", history: 2 }]);
    assert.equal(room.state, "joined");
    world.server.append("room:1", { data: 4 });
    await world.pass(100);
    assert.deepEqual(one, [2, 3, 4]);
    assert.deepEqual(two, [2, 3, 4]);
});

test("it is left when nobody uses it for a while", async () => {
    const world = new World();
    const hub = world.hub();
    const room = hub.channel("a");
    const off = room.on("message", () => {});

    await world.pass(100);
    off();
    off();
    await world.pass(299000);
    assert.equal(room.state, "joined");

    const again = room.on("message", () => {});
    await world.pass(400000);
    assert.equal(room.state, "joined", "somebody uses it again");
    again();
    await world.pass(301000);
    assert.equal(room.state, "idle");
    assert.equal(world.server.commands.filter((c) => c.op === "leave").length,
                 1);

    room.on("message", () => {});
    await world.pass(100);
    assert.equal(room.state, "joined", "and joined anew");
    assert.equal(joins(world)[1].since, undefined);
});

test("what was missed comes once, in order", async () => {
    const world = new World();
    const room = world.hub().channel("a");
    const got = collect(room);
    const lost = collect(room, "lost");

    await world.pass(100);
    world.server.append("a", { data: 1 });
    await world.pass(100);
    world.server.append("a", { data: 2 });      /* is on its way */
    world.server.socket.cut();
    world.server.append("a", { data: 3 });
    await world.pass(2000);
    world.server.append("a", { data: 4 });
    await world.pass(100);

    assert.deepEqual(got, [1, 2, 3, 4]);
    assert.deepEqual(lost, []);
    assert.deepEqual(joins(world)[1].since, { epoch: "e1", offset: 1 });

    world.server.socket.say({ channel: "a", offset: 4, data: 4 });
    await world.pass(100);
    assert.deepEqual(got, [1, 2, 3, 4], "what was seen is not told again");
});

test("what is lost is told", async () => {
    const world = new World();
    const room = world.hub().channel("a");
    const got = collect(room);
    const lost = collect(room, "lost");

    await world.pass(100);
    world.server.socket.say({ channel: "a", gap: { from: 1, to: 7 } });
    world.server.socket.say({ channel: "a", offset: 8, data: 8 });
    world.server.socket.say({ channel: "a", reset:
        { epoch: "e2", offset: 0, reason: "purged" } });
    world.server.socket.say({ channel: "a", offset: 1, data: "one" });
    await world.pass(100);
    assert.deepEqual(room.position, { epoch: "e2", offset: 1 });

    world.server.channel("a").epoch = "e3";
    world.server.socket.cut();
    await world.pass(2000);
    world.server.append("a", { data: "first" });
    await world.pass(100);

    assert.deepEqual(got, [8, "one", "first"]);
    assert.deepEqual(lost, [
        { reason: "gap", from: 1, to: 7 },
        { reason: "reset", why: "purged" },
        { reason: "unrecovered", missed: 0 },
    ]);
});

test("replies in parts, with a gap", async () => {
    const world = new World();
    const room = world.hub().channel("a");
    const got = collect(room);
    const lost = collect(room, "lost");

    world.server.instead = ({ op, id }, socket) => {
        if (op !== "join") {
            return null;
        }

        socket.say({ id, part: { channel: "a", messages:
            [{ offset: 1, data: 1 }, { offset: 2, data: 2 }] } });

        return { ok: { channel: "a", epoch: "e1", offset: 9,
                       gap: { from: 3, to: 8 },
                       messages: [{ offset: 9, data: 9 }] } };
    };

    await world.pass(100);
    assert.deepEqual(got, [1, 2, 9]);
    assert.deepEqual(lost, [{ reason: "gap", from: 3, to: 8 }]);
    assert.deepEqual(room.position, { epoch: "e1", offset: 9 });
});

test("a refusal ends it, and the next connection tries again", async () => {
    const world = new World();
    const room = world.hub().channel("a");
    const errors = collect(room, "error");
    const refusal = { error: { code: "forbidden", message: "no" } };

    world.server.instead = (c) => c.op === "join" ? refusal : null;

    const joined = room.join();

    await world.pass(100);
    await assert.rejects(joined, { code: "forbidden" });
    assert.equal(room.state, "failed");
    assert.equal(room.error.code, "forbidden");
    assert.equal(errors.length, 1);
    await world.pass(100000);
    assert.equal(joins(world).length, 1);

    await assert.rejects((async () => {
        const all = room[Symbol.asyncIterator]();

        await world.pass(100);
        return all.next();
    })(), { code: "forbidden" });

    world.server.instead = null;
    world.server.socket.cut();
    await world.pass(2000);
    assert.equal(room.state, "joined");
});

test("a refusal that passes is met with another join", async () => {
    const world = new World();
    const room = world.hub().channel("a");
    let n = 0;

    world.server.instead = (c) => c.op === "join" && ++n <= 2
        ? { error: { code: "rate_limited", data: { retry_after: 3000 } } }
        : null;
    room.on("message", () => {});
    await world.pass(3500);
    assert.equal(n, 2);
    assert.equal(room.state, "joining");
    await world.pass(4000);
    assert.equal(room.state, "joined");
});

test("a kick is told", async () => {
    const world = new World();
    const room = world.hub().channel("a");

    room.on("message", () => {});
    await world.pass(100);
    world.server.socket.say({ channel: "a", left: { reason: "kicked" } });
    await world.pass(100);
    assert.equal(room.state, "failed");
    assert.equal(room.error.code, "kicked");
});

test("too many channels: the one that nobody uses is left", async () => {
    const world = new World();
    const hub = world.hub();

    world.server.instead = (c, { joins }) => c.op === "join" && joins.size >= 1
        ? { error: { code: "too_many", data: { limit: "channels", max: 1 } } }
        : null;

    const off = hub.channel("a").on("message", () => {});
    await world.pass(100);
    off();
    hub.channel("b").on("message", () => {});
    await world.pass(100);
    assert.equal(hub.channel("a").state, "idle");
    assert.equal(hub.channel("b").state, "joined");

    hub.channel("c").on("message", () => {});
    await world.pass(100);
    assert.equal(hub.channel("c").state, "failed");
});

test("for await", async () => {
    const world = new World();
    const hub = world.hub();
    const room = hub.channel("a");
    const got = [];

    const loop = (async () => {
        for await (const m of room) {
            got.push(m.data);

            if (m.data === "stop") {
                break;
            }
        }
    })();

    await world.pass(100);
    [1, 2, "stop", 3].forEach((data) => world.server.append("a", { data }));
    await world.pass(100);
    await loop;
    assert.deepEqual(got, [1, 2, "stop"]);
    assert.equal(room.users, 0);

    const all = room[Symbol.asyncIterator]();
    const next = all.next();
    hub.close();
    assert.equal((await next).done, true);
});

test("a loop that is too slow is told", async () => {
    const world = new World();
    const room = world.hub().channel("a");
    const all = room[Symbol.asyncIterator]();

    await world.pass(100);

    for (let i = 1; i <= 10001; i++) {
        world.server.sockets[0].onmessage({ data: JSON.stringify(
            { channel: "a", offset: i, data: i }) });
    }

    assert.equal((await all.next()).value.data, 1);

    for (let i = 1; i < 10000; i++) {
        await all.next();
    }

    await assert.rejects(all.next(), { code: "slow" });
});

test("a listener that throws stops nobody", async (t) => {
    const world = new World();
    const room = world.hub().channel("a");
    const said = t.mock.method(console, "error", () => {});

    room.on("message", () => {
        throw new Error("mine");
    });
    room.on("message", async () => {
        throw new Error("later");
    });
    const got = collect(room);

    await world.pass(100);
    world.server.append("a", { data: 1 });
    await world.pass(100);
    assert.deepEqual(got, [1]);
    assert.equal(said.mock.callCount(), 2);
});

test("bytes, and texts that are difficult", async () => {
    const world = new World();
    const room = world.hub().channel("a");
    const got = collect(room);
    const text = "\u2028\u0000\ud83d\ude00 \"x\"";

    await world.pass(100);
    world.server.append("a", { data: "AAH/", enc: "base64" });
    world.server.append("a", { data: text });
    await world.pass(100);
    assert.deepEqual(got, [Uint8Array.of(0, 1, 255), text]);
});

test("history", async () => {
    const world = new World();
    const hub = world.hub();

    world.server.instead = ({ op, id }, socket) => {
        if (op !== "history") {
            return null;
        }

        socket.say({ id, part: { messages: [{ offset: 1, data: 1 }] } });

        return { ok: { epoch: "e", offset: 2, next: 1,
                       messages: [{ offset: 2, data: 2 }] } };
    };
    await world.pass(100);

    const reply = hub.channel("a").history({ limit: 2 });

    await world.pass(100);
    assert.deepEqual((await reply).messages.map((m) => m.data), [1, 2]);
    assert.equal((await reply).next, 1);
    assert.equal(hub.channel("a").state, "idle", "without a join");
});

test("new options are told to the server", async () => {
    const world = new World();
    const hub = world.hub();

    hub.channel("a").on("message", () => {});
    await world.pass(100);
    hub.channel("a", { every: 100 });
    hub.channel("a", { every: 100 });
    await world.pass(100);
    assert.deepEqual(joins(world).map((c) => c.every), [undefined, 100]);
});

const ann = { client: "c_1", user: "ann", data: {}, state: "active", slot: 0 };
const bob = { client: "c_9", user: "bob", data: { x: 1 }, state: "active",
              slot: 1 };

test("members: a list, then changes", async () => {
    const world = new World();
    const hub = world.hub();
    const room = hub.channel("a", { presence: { name: "Ann" } });
    const told = [];

    world.server.channel("a").members = [ann];

    for (const event of ["join", "update", "leave"]) {
        room.presence.on(event, (m) => told.push(event + " " + m.user));
    }

    room.presence.on("change", (all) => told.push(all.size));

    await world.pass(100);
    assert.deepEqual(joins(world)[0].presence, { name: "Ann" });
    assert.deepEqual(told.splice(0), ["join ann", 1]);
    assert.equal(room.presence.me.user, "ann");

    world.server.append("a", { presence: { joined: [bob] } });
    world.server.append("a", { presence:
        { updated: [{ ...bob, data: { x: 2 } }] } });
    await world.pass(100);
    assert.deepEqual(told.splice(0), ["join bob", "update bob", 2]);
    assert.equal(room.presence.get("c_9").data.x, 2);
    assert.deepEqual([...room.presence.keys()], ["c_1", "c_9"]);

    world.server.append("a", { presence:
        { left: [{ ...bob, reason: "network" }] } });
    await world.pass(100);
    assert.deepEqual(told.splice(0), ["leave bob", 1]);
});

test("members after a break are told as changes", async () => {
    const world = new World();
    const room = world.hub().channel("a", { presence: {} });
    const told = [];

    world.server.channel("a").members = [ann, bob];
    room.presence.on("leave", (m) => told.push(m.user + " " + m.reason));
    room.presence.on("join", (m) => told.push("+" + m.user));
    await world.pass(100);
    told.splice(0);

    world.server.channel("a").members = [ann, { ...bob, client: "c_8",
                                                user: "cid" }];
    world.server.socket.cut();
    await world.pass(2000);
    assert.deepEqual(told, ["bob unknown", "+cid"]);
    assert.deepEqual(joins(world)[1].presence, {}, "it is a member again");
});

test("members that were lost are read again", async () => {
    const world = new World();
    const room = world.hub().channel("a");

    room.presence.on("change", () => {});
    world.server.channel("a").members = [ann];
    await world.pass(100);
    world.server.channel("a").members = [ann, bob];
    world.server.socket.say({ channel: "a", gap:
        { from: 1, to: 2, of: "presence" } });
    await world.pass(100);
    assert.equal(room.presence.size, 2);
});

test("enter, change, leave", async () => {
    const world = new World();
    const room = world.hub().channel("a");
    const told = () => world.server.commands.filter((c) => c.op === "presence")
        .map((c) => c.data);

    room.on("message", () => {});
    await world.pass(100);
    room.presence.enter({ x: 1 });
    room.presence.enter({ x: 1 });
    room.presence.enter({ x: 2 });
    await world.pass(100);
    assert.deepEqual(told(), [{ x: 1 }, { x: 2 }]);
    world.server.socket.cut();
    await world.pass(2000);
    assert.deepEqual(joins(world)[1].presence, { x: 2 });
    room.presence.leave();
    await world.pass(100);
    assert.deepEqual(told().pop(), null);
});

test("what changes while the join is on its way", async () => {
    const world = new World();
    const hub = world.hub();
    const room = hub.channel("a");

    await world.pass(100);
    room.on("message", () => {});
    await world.pass(5);
    room.presence.enter({ x: 1 });
    hub.channel("a", { every: 100 });
    await world.pass(100);
    assert.deepEqual(joins(world).map((c) => [c.presence, c.every]),
                     [[undefined, undefined], [{ x: 1 }, 100]]);
    assert.deepEqual(world.server.commands.filter((c) => c.op === "presence")
                         .map((c) => c.data), [{ x: 1 }]);
    await world.pass(10000);
    assert.equal(joins(world).length, 2);
});

test("what comes in one frame with the reply comes after it", async () => {
    const world = new World();
    const room = world.hub().channel("a", { history: 9 });
    const got = collect(room);

    world.server.instead = ({ op, id }, socket) => {
        if (op !== "join") {
            return null;
        }

        socket.say([
            { id, ok: { channel: "a", epoch: "e1", offset: 1, messages:
                [{ offset: 1, data: 1 }] } },
            { channel: "a", offset: 2, data: 2 },
        ]);

        return true;
    };
    await world.pass(100);
    assert.deepEqual(got, [1, 2]);
    assert.equal(room.position.offset, 2);
});

test("it begins behind a position, and does not go back to it", async () => {
    const world = new World();
    const hub = world.hub();
    const since = { epoch: "e1", offset: 5 };
    const room = hub.channel("a", { since });

    room.on("message", () => {});
    await world.pass(100);
    assert.deepEqual(joins(world)[0].since, since);

    room.position.offset = 9;
    hub.channel("a", { since });
    assert.equal(room.position.offset, 9);
    assert.equal(since.offset, 5);
});

test("a channel token by a function: alone, later, another one", async () => {
    const world = new World();
    const hub = world.hub();
    const joins = () => world.server.commands.filter((c) => c.op === "join");
    const tokens = (name) => joins().filter((c) => c.channel === name)
        .map((c) => c.token);

    hub.channel("alone", { token: () => "T" }).join();
    hub.channel("later", { history: 1 }).join();
    await world.pass(100);
    hub.channel("later", { token: async (name) => "of " + name });
    await world.pass(100);
    assert.deepEqual(tokens("alone"), ["T"]);
    assert.deepEqual(tokens("later"), [undefined, "of later"]);

    for (let i = 0; i < 5; i++) {       /* as a component does */
        hub.channel("alone", { token: () => "T" + i });
    }

    await world.pass(100);
    assert.deepEqual(tokens("alone"), ["T"], "no join for each of them");
    world.server.socket.cut();
    await world.pass(2000);
    assert.deepEqual(tokens("alone"), ["T", "T4"], "the newest is asked");
});

test("a channel token that can't be had is asked for again", async () => {
    const world = new World();
    const hub = world.hub();
    let n = 0;

    const joined = hub.channel("a", {
        token: () => n++ ? "T" : Promise.reject(),
    }).join();

    await world.pass(5000);
    assert.equal((await joined).state, "joined");
    assert.deepEqual(world.server.commands.filter((c) => c.op === "join")
        .map((c) => c.token), ["T"]);
});
