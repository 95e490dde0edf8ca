/* Publishes: none lost, none doubled, in order: src/client/queue.js. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { World } from "./world.js";

const log = (world, name = "a") => world.server.channel(name).log
    .filter((m) => "data" in m).map((m) => m.data);
const publishes = (world) => world.server.commands
    .filter((c) => c.op === "publish");

test("states, and the result", async () => {
    const world = new World();
    const room = world.hub().channel("a");
    const sending = room.publish("hi", { event: "msg" });
    const states = [sending.state];

    sending.on("state", ({ state }) => states.push(state));
    await world.pass(100);
    assert.deepEqual(states, ["queued", "sending", "sent"]);
    assert.equal((await sending).offset, 1);
    assert.equal(sending.result.epoch, "e1");
    assert.equal(world.server.channel("a").log[0].event, "msg");
    assert.equal(publishes(world)[0].key.length, 24);
});

test("in order; what waits goes as one publish", async () => {
    const world = new World();
    const room = world.hub().channel("a");

    await world.pass(100);

    const all = [1, 2, 3].map((n) => room.publish(n));
    await world.pass(15);
    all.push(...[4, 5].map((n) => room.publish(n)));
    await world.pass(1000);

    assert.deepEqual(log(world), [1, 2, 3, 4, 5]);
    assert.equal(publishes(world).length, 2);
    assert.deepEqual(await Promise.all(all.map(async (s) => (await s).offset)),
                     [1, 2, 3, 4, 5]);
});

test("channels don't wait for each other", async () => {
    const world = new World();
    const hub = world.hub();

    world.server.instead = (c) => c.channel === "a" ? true : null;
    await world.pass(100);
    hub.channel("a").publish(1);
    hub.channel("b").publish(1);
    await world.pass(100);
    assert.deepEqual(log(world, "b"), [1]);
});

test("offline they wait, at most so many", async () => {
    const world = new World();
    const hub = world.hub({ connect: false });
    const room = hub.channel("a");
    const all = Array.from({ length: 51 }, (_, i) => room.publish(i));

    assert.equal(hub.queue.size, 50);
    assert.equal(all[50].state, "failed");
    assert.equal(all[50].error.code, "queue_full");
    await assert.rejects(all[50].done, { code: "queue_full" });

    await world.pass(3600000);
    hub.connect();
    await world.pass(1000);
    assert.equal(log(world).length, 50);
    assert.equal(publishes(world).length, 1, "as one");
    assert.equal(all[49].result.offset, 50);

    all[50].retry();
    await world.pass(100);
    assert.equal(log(world).pop(), 50);
});

test("drop-oldest", async () => {
    const world = new World();
    const hub = world.hub({ connect: false,
                            queue: { limit: 2, full: "drop-oldest" } });
    const all = [1, 2, 3].map((n) => hub.channel("a").publish(n));

    assert.equal(all[0].error.code, "queue_full");
    hub.connect();
    await world.pass(100);
    assert.deepEqual(log(world), [2, 3]);
});

test("a reply that is lost does not double it", async () => {
    const world = new World();
    const room = world.hub().channel("a");

    await world.pass(100);

    const all = [1, 2].map((n) => room.publish(n));
    await world.pass(15);
    assert.deepEqual(log(world), [1, 2]);
    world.server.socket.cut();
    assert.equal(all[0].state, "sending");
    await world.pass(0);
    assert.equal(all[0].state, "queued");
    room.publish(3);
    await world.pass(2000);
    assert.deepEqual(log(world), [1, 2, 3]);
    assert.deepEqual(all.map((s) => s.state), ["sent", "sent"]);
    assert.equal(all[1].result.duplicate, true);
});

test("nor does what is published meanwhile", async () => {
    const world = new World();
    const room = world.hub().channel("a");

    await world.pass(100);
    room.publish(1);
    await world.pass(15);
    world.server.socket.cut();
    [2, 3].forEach((n) => room.publish(n));
    await world.pass(2000);
    assert.deepEqual(log(world), [1, 2, 3]);
});

test("not even when the server has forgotten the key", async () => {
    const world = new World();
    const room = world.hub().channel("a");

    room.on("message", () => {});
    await world.pass(100);

    const all = [1, 2].map((n) => room.publish(n));

    world.server.socket.mute = true;
    await world.pass(100);
    assert.deepEqual(log(world), [1, 2]);
    world.server.channel("a").keys.clear();
    world.server.socket.cut();
    await world.pass(2000);
    assert.deepEqual(log(world), [1, 2]);
    assert.deepEqual(all.map((s) => s.result.offset), [1, 2]);
});

for (const code of ["forbidden", "refused", "conflict", "bad_request"]) {
    test(code + " fails at once, alone", async () => {
        const world = new World();
        const room = world.hub().channel("a");

        await world.pass(100);
        world.server.instead = ({ op, data, messages }) => op === "publish"
            && (data === "bad" || messages?.some((m) => m.data === "bad"))
            ? { error: { code, message: "no" } } : null;

        const all = [1, "bad", 2].map((n) => room.publish(n));

        await world.pass(1000);

        if (code === "forbidden") {
            assert.deepEqual(all.map((s) => s.state),
                             ["failed", "failed", "failed"]);

        } else {
            assert.deepEqual(log(world), [1, 2]);
            assert.equal(all[1].error.code, code);
        }

        assert.ok(publishes(world).length <= 4);
    });
}

test("too large fails before it is sent", async () => {
    const world = new World();
    const room = world.hub().channel("a");

    await world.pass(100);

    const sending = room.publish("\u00e9".repeat(40000));

    await assert.rejects(sending.done, { code: "too_large" });
    assert.deepEqual(sending.error.data, { limit: "message", max: 65536 });
    assert.equal(publishes(world).length, 0);
});

test("five tries, later each time, and retry_after is obeyed", async () => {
    const world = new World();
    const room = world.hub().channel("a");
    const times = [];
    let error = { code: "rate_limited", data: { retry_after: 7000 } };

    world.server.instead = ({ op }) => {
        if (op !== "publish" || !error) {
            return null;
        }

        times.push(world.now);

        return { error };
    };
    await world.pass(100);

    const sending = room.publish(1);
    const after = room.publish(2);

    await world.pass(7500);
    assert.equal(times.length, 2);
    assert.equal(times[1] - times[0], 7020);
    error = { code: "zone_full" };
    await world.pass(60000);
    assert.equal(sending.state, "failed");
    assert.equal(sending.error.code, "zone_full");
    assert.equal(sending.tries, 5);
    assert.equal(times.length, 5);

    error = null;
    sending.retry();
    await world.pass(20000);
    assert.equal(sending.state, "sent");
    assert.equal(after.state, "failed", "with its burst");
});

test("time offline is no try", async () => {
    const world = new World();
    const room = world.hub().channel("a");

    await world.pass(100);

    const sending = room.publish(1);

    world.server.refuses = true;
    world.server.socket.cut();
    await world.pass(3600000);
    assert.equal(sending.state, "queued");
    assert.equal(sending.tries, 0);
    world.server.refuses = false;
    await world.pass(60000);
    assert.equal(sending.state, "sent");
});

test("one that ends every connection is given up", async () => {
    const world = new World();
    const hub = world.hub();

    await world.pass(100);
    world.server.instead = ({ op }, socket) => {
        if (op === "publish") {
            socket.cut(1009);
            return true;
        }

        return null;
    };

    const sending = hub.channel("a").publish("poison");

    await world.pass(1000000);
    assert.equal(sending.state, "failed");
    assert.equal(sending.cuts, 20);
    assert.equal(hub.state, "connected");
});

test("the next page sends what this one could not", async () => {
    const world = new World();
    const first = world.hub({ connect: false });

    first.connection.user = "ann";
    first.connection.client = "c_0";
    [1, 2].forEach((n) => first.channel("a").publish(n));
    await world.pass(100);
    assert.equal(world.local.items.size, 1);

    const second = world.hub();
    await world.pass(100);
    assert.deepEqual(log(world), [], "not while the other lives");

    await world.happens("pagehide", { persisted: false });
    world.server.user = "bob";
    const bobs = world.hub();
    await world.pass(100);
    assert.equal(bobs.user, "bob");
    assert.deepEqual(log(world), [], "nor as somebody else");

    world.server.user = "ann";
    const third = world.hub();
    await world.pass(1000);
    assert.equal(third.user, "ann");
    assert.deepEqual(log(world), [1, 2]);
    assert.equal(world.local.items.size, 0);
    assert.equal(second.queue.size, 0);
});

test("what a tab that crashed has left, and what is too old", async () => {
    const world = new World();
    const name = "fanout.queue:http://test/realtime:";
    const of = (at, data) => JSON.stringify({ at, items: [
        { command: { op: "publish", channel: "a", data, key: data }, cuts: 0,
          user: "ann" }] });

    world.local.setItem(name + "1", of(world.now - 70000, "one"));
    world.local.setItem(name + "2", of(world.now - 60000, "alive"));
    world.local.setItem(name + "3", of(world.now - 9e8, "old"));
    world.local.setItem(name + "4", "{");
    world.local.setItem(name + "5", '{"items":[{}]}');
    world.local.setItem("other", "x");

    const hub = world.hub();
    const errors = [];

    hub.on("storage", (e) => errors.push(e));
    await world.pass(1000);
    assert.deepEqual(log(world), ["one"]);
    assert.deepEqual([...world.local.items.keys()], [name + "2", "other"]);
    assert.equal(errors.length, 3);
});

for (const [what, storage] of [
    ["full", { length: 0, key() {}, getItem: () => null, removeItem() {},
               setItem() { throw new Error("quota"); } }],
    ["denied", Object.defineProperty({}, "length", {
        get() { throw new Error("denied"); } })],
    ["none", null],
]) {
    test("a storage that is " + what, async () => {
        const world = new World();
        const hub = world.hub({ storage });
        const errors = [];

        hub.on("storage", (e) => errors.push(e));
        hub.channel("a").publish(1);
        await world.pass(100);
        hub.channel("a").publish(2);
        await world.pass(100);
        assert.deepEqual(log(world), [1, 2]);
        assert.equal(errors.length > 0, storage !== null);
    });
}

test("another user does not send it", async () => {
    const world = new World();
    const hub = world.hub();

    await world.pass(100);
    world.server.refuses = true;
    world.server.socket.cut();

    const sending = hub.channel("a").publish("ann's");

    world.server.user = "bob";
    world.server.refuses = false;
    await world.pass(1000);
    assert.equal(hub.user, "bob");
    assert.equal(sending.error.code, "forbidden");
    assert.deepEqual(log(world), []);
});

test("close() gives up what waits", async () => {
    const world = new World();
    const hub = world.hub();
    const sending = hub.channel("a").publish(1);

    hub.close();
    await world.pass(100);
    assert.equal(sending.error.code, "closed");
    assert.equal(hub.channel("a").publish(2).error.code, "closed");
    assert.equal(world.local.items.size, 0);
    assert.equal(world.timers, 0);
});

/*
 * Random schedules: what two clients publish arrives once, in order, and both
 * have the records that the server has.
 */

function random(seed) {
    return (n) => {
        seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;

        return Math.floor(seed / 4294967296 * n);
    };
}

async function schedule(seed) {
    const world = new World();
    const any = random(seed);
    const hubs = [0, 1].map(() => world.hub({ storage: null,
                                              queue: { limit: 1000 } }));
    const rooms = hubs.map((hub) => hub.channel("a"));
    const got = rooms.map(() => []);
    const sendings = [];
    const wrong = [];               /* conflicts with oneself */

    rooms.forEach((room, i) => room.on("message", (m) => got[i].push(m.data)));
    await world.pass(100);
    hubs.forEach((hub, i) => [0, 1, 2].forEach((n) => {
        rooms[i].record("r" + n).on("conflict", ({ fields }) => {
            wrong.push(..."own" + i in fields ? ["own" + i] : []);
        });
    }));
    world.server.instead = ({ op }) => op === "publish" && any(12) === 0
        ? { error: { code: "rate_limited", data: { retry_after: 50 } } } : null;

    for (let step = 0; step < 60; step++) {
        const i = any(2);
        const what = any(10);

        world.luck = any(100) / 100;

        if (what < 2) {
            const record = rooms[i].record("r" + any(3));
            const fields = { ["own" + i]: step };

            if (any(2)) {
                fields.all = step;
            }

            record.set(fields);

        } else if (what < 6) {
            sendings.push(rooms[i].publish(i + ":" + sendings.length));

        } else if (what < 8) {
            const open = world.server.sockets.filter((s) => s.open);

            open[any(open.length || 1)]?.cut();

        } else if (what < 9) {
            world.server.refuses = any(2) === 0;

        } else {
            world.server.delay = 1 + any(300);
        }

        await world.pass(any(4) ? any(60) : any(3000));
    }

    world.server.refuses = false;
    world.server.instead = null;
    await world.pass(400000);

    const failed = sendings.filter((s) => s.state !== "sent");
    const all = log(world);

    assert.deepEqual(failed.map((s) => s.error?.code), failed.map(
        () => "rate_limited"), "seed " + seed);
    assert.equal(all.length, sendings.length - failed.length, "seed " + seed);
    assert.deepEqual(got, [all, all], "seed " + seed);

    assert.deepEqual(wrong, [], "seed " + seed);

    for (const room of rooms) {
        assert.deepEqual(
            Object.fromEntries([...room.records].map(
                ([id, { fields }]) => [id, fields])),
            Object.fromEntries(Object.entries(
                world.server.channel("a").records).map(
                    ([id, { fields }]) => [id, fields])), "seed " + seed);
        assert.equal(room.records.pending().length, 0, "seed " + seed);
    }

    for (const i of ["0", "1"]) {
        const numbers = all.filter((d) => d[0] === i)
            .map((d) => Number(d.slice(2)));

        assert.deepEqual(numbers, [...numbers].sort((a, b) => a - b),
                         "seed " + seed);
    }
}

test("random schedules of two clients and a bad network", async () => {
    const first = Number(process.env.SEED || 1);

    for (let seed = first; seed < first + 100; seed++) {
        await schedule(seed);
    }
});
