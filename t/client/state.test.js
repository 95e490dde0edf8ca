/* Records, locks and signals: src/client/{records,locks,signals}.js. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { World } from "./world.js";

const done = (world, op) => world.server.commands.filter((c) => c.op === op);
const held = (world, name = "x") => world.server.channel("a").locks.get(name);

async function joined(options) {
    const world = new World();
    const hub = world.hub(options);
    const channel = hub.channel("a");

    world.server.change("a", "r1", { title: "one", done: false });
    channel.on("message", () => {});
    await world.pass(100);

    return { world, hub, channel, record: channel.record("r1"),
             records: channel.records };
}

test("records: a map, and what others change", async () => {
    const { world, records, record } = await joined();
    let told = 0;

    records.on("change", () => told++);
    assert.deepEqual([...records.keys()], ["r1"]);
    assert.deepEqual(record.fields, { title: "one", done: false });
    assert.equal(record.version, 1);
    world.server.change("a", "r1", { done: true });
    world.server.change("a", "r2", { title: "two" });
    await world.pass(100);
    assert.equal(records.size, 2);
    assert.deepEqual(record.fields, { title: "one", done: true });
    assert.equal(told, 1, "one change for each picture");

    world.server.socket.say({ channel: "a", offset: 4, record: "r2",
                              version: 2, deleted: true });
    world.server.socket.say({ channel: "a", offset: 5, record: "r1",
                              version: 3, unset: ["done"],
                              append: { tags: ["a"] } });
    await world.pass(100);
    assert.deepEqual([...records.keys()], ["r1"]);
    assert.deepEqual(record.fields, { title: "one", tags: ["a"] });
});

test("a change is shown at once, and stays", async () => {
    const { world, record } = await joined();
    const titles = [];

    record.on("change", ({ fields }) => titles.push(fields.title));

    const sending = record.set({ title: "mine" });

    assert.equal(record.fields.title, "mine");
    assert.equal(record.pending, 1);
    await world.pass(1000);
    assert.equal(sending.result.version, 2);
    assert.equal(record.pending, 0);
    assert.equal(record.version, 2);
    assert.deepEqual(done(world, "set").map((c) => [c.base, c.set]),
                     [[1, { title: "mine" }]]);
    assert.ok(titles.every((title) => title === "mine"));
});

test("no flicker between the answer and the change", async () => {
    const { world, record } = await joined();

    world.server.instead = ({ op }) => op === "set"
        ? { ok: { version: 3, epoch: "e1", offset: 3 } } : null;
    record.set({ title: "mine" });
    await world.pass(100);
    assert.equal(record.fields.title, "mine");
    world.server.socket.say({ channel: "a", offset: 2, record: "r1",
                              version: 2, set: { done: true } });
    await world.pass(100);
    assert.deepEqual(record.fields, { title: "mine", done: true });
    world.server.socket.say({ channel: "a", offset: 3, record: "r1",
                              version: 3, set: { title: "mine" } });
    await world.pass(100);
    assert.equal(record.version, 3);
    assert.equal(record.pending, 0);
});

test("nor a conflict with what was answered, and is yet to come", async () => {
    const { world, record } = await joined();

    world.server.instead = ({ op }) => op === "set"
        ? { ok: { version: 3, epoch: "e1", offset: 3 } } : null;
    record.set({ title: "mine" });
    await world.pass(100);
    assert.equal(record.version, 1, "the change itself is not here yet");
    record.set({ title: "mine too" });
    await world.pass(100);
    assert.deepEqual(done(world, "set").map((c) => c.base), [1, 3]);
});

test("what is refused is rolled back", async () => {
    const { world, record } = await joined();

    world.server.instead = ({ op }) => op === "set"
        ? { error: { code: "forbidden", message: "no" } } : null;

    const sending = record.set({ title: "mine" });

    await world.pass(100);
    assert.equal(sending.error.code, "forbidden");
    assert.equal(record.fields.title, "one");
});

test("conflicts: all, a part, and once more", async () => {
    const { world, record } = await joined();
    const conflicts = [];

    record.on("conflict", (c) => conflicts.push(c));
    record.set({ title: "mine" });
    world.server.change("a", "r1", { title: "bob's" });
    await world.pass(100);
    assert.equal(record.fields.title, "bob's");
    assert.deepEqual(conflicts[0].fields, { title: {
        mine: "mine", value: "bob's", version: 2, user: "bob" } });
    assert.equal(conflicts[0].error.code, "conflict");

    const again = conflicts[0].retry();

    assert.equal(record.fields.title, "mine");
    await world.pass(100);
    assert.equal(again.state, "sent");
    assert.equal(record.fields.title, "mine");

    const part = record.set({ title: "mine too", done: true });
    world.server.change("a", "r1", { title: "bob's again" });
    await world.pass(100);
    assert.equal(part.state, "sent");
    assert.deepEqual(record.fields, { title: "bob's again", done: true });
    assert.equal(conflicts.length, 2);
    assert.deepEqual(Object.keys(conflicts[1].fields), ["title"]);
    conflicts[1].retry();
    await world.pass(100);
    assert.deepEqual(record.fields, { title: "mine too", done: true });
});

test("one's own changes are no conflict", async () => {
    const { world, record, channel } = await joined();
    const conflicts = [];

    record.on("conflict", (c) => conflicts.push(c));
    record.set({ title: "a" });
    record.set({ title: "ab" });
    record.set({ title: "abc", done: true });
    channel.record("r9").set({ title: "another" });
    await world.pass(1000);
    assert.deepEqual(conflicts, []);
    assert.deepEqual(record.fields, { title: "abc", done: true });
    assert.deepEqual(done(world, "set").map((c) => [c.base, c.set]), [
        [1, { title: "a" }], [2, { title: "ab" }],
        [1, { done: true }], [3, { title: "abc" }],
        [0, { title: "another" }],
    ]);
});

test("but what others set in between is one, field by field", async () => {
    const { world, record } = await joined();
    const conflicts = [];

    record.on("conflict", (c) => conflicts.push(c));
    record.set({ title: "a" });

    const both = record.set({ title: "ab", done: true });

    world.server.change("a", "r1", { done: "bob's" });
    await world.pass(1000);
    assert.equal(both.result.partial, true);
    assert.deepEqual(conflicts.map((c) => c.fields), [{ done: {
        mine: true, value: "bob's", version: 2, user: "bob" } }]);
    assert.deepEqual(record.fields, { title: "ab", done: "bob's" });
    conflicts[0].retry();
    await world.pass(100);
    assert.deepEqual(record.fields, { title: "ab", done: true });
});

test("offline: kept, shown, sent in order, once", async () => {
    const { world, record, channel } = await joined();

    world.server.refuses = true;
    world.server.socket.cut();
    record.set({ title: "mine" });
    record.set({ done: true });
    channel.record("r2").set({ title: "two" });
    await world.pass(60000);
    assert.deepEqual(record.fields, { title: "mine", done: true });
    assert.equal(channel.records.size, 2);

    world.server.change("a", "r1", { place: "here" });
    world.server.refuses = false;
    await world.pass(60000);
    assert.deepEqual(record.fields,
                     { title: "mine", done: true, place: "here" });
    assert.deepEqual(world.server.channel("a").records.r1.fields,
                     record.fields);
    assert.deepEqual(channel.record("r2").fields, { title: "two" });

    world.server.socket.mute = true;
    record.set({ title: "lost reply" });
    await world.pass(50);
    world.server.socket.cut();
    await world.pass(5000);
    assert.equal(record.version, world.server.channel("a").records.r1.version);
    assert.equal(record.pending, 0);
    assert.equal(record.fields.title, "lost reply");
});

test("records after a reset are read again", async () => {
    const { world, records } = await joined();

    world.server.channel("a").records = { r7: { version: 1, fields: {} } };
    world.server.socket.say({ channel: "a", reset:
        { epoch: "e1", offset: 0, reason: "purged" } });
    await world.pass(100);
    assert.deepEqual([...records.keys()], ["r7"]);
});

test("a lock: taken, renewed, released", async () => {
    const { world, channel } = await joined();
    const lock = channel.lock("x");
    const states = [lock.state];

    lock.on("state", ({ state }) => states.push(state));
    await world.pass(100);
    await lock;
    assert.equal(lock.held, true);
    assert.equal(lock.token, 1);
    assert.equal(channel.locks.get("x").holder.client, "c_1");
    await world.pass(300000);
    assert.equal(lock.held, true);

    const asked = done(world, "lock").length;

    assert.ok(asked >= 10 && asked <= 11, "when half of it is over");
    assert.equal(channel.lock("x"), lock, "one for all");

    lock.release();
    await world.pass(100);
    assert.equal(held(world), undefined);
    assert.equal(channel.locks.size, 0);
    await world.pass(300000);
    assert.equal(done(world, "lock").length, asked);
    assert.deepEqual(states, ["waiting", "held", "released"]);
});

test("a lock of somebody else", async () => {
    const { world, channel } = await joined();

    world.server.grant("a", "x", "c_9");

    const lock = channel.lock("x");

    await world.pass(100);
    assert.equal(lock.state, "failed");
    assert.equal(lock.error.code, "locked");
    assert.deepEqual(lock.error.data.holder, { client: "c_9" });
    await assert.rejects(async () => lock, { code: "locked" });
});

test("a lock in the line is got later", async () => {
    const { world, hub, channel } = await joined();
    let reply;

    world.server.instead = ({ op, id }, socket) => {
        if (op !== "lock" || reply) {
            return null;
        }

        reply = () => socket.say({ id, ok: world.server.grant(
            "a", "x", hub.client) });

        return true;
    };

    const lock = channel.lock("x", { wait: 100000 });

    await world.pass(50000);
    assert.equal(lock.state, "waiting");
    assert.equal(done(world, "lock")[0].wait, 100000);
    reply();
    await world.pass(100);
    assert.equal(lock.held, true);
});

test("after a break a lock is still held, or lost", async () => {
    const { world, channel } = await joined();
    const kept = channel.lock("x");
    const gone = channel.lock("y");
    const line = channel.lock("z", { wait: 1000 });

    await world.pass(100);
    world.server.socket.cut();
    world.server.channel("a").locks.delete("y");
    await world.pass(2000);
    assert.equal(kept.held, true);
    assert.equal(line.held, true);
    assert.equal(gone.state, "lost");
});

test("a lock is lost when its time is over, or it is broken", async () => {
    const { world, channel } = await joined();
    const one = channel.lock("x");
    const two = channel.lock("y");

    await world.pass(100);
    world.server.append("a", { lock: { name: "y", holder: null,
                                       reason: "broken" } });
    await world.pass(100);
    assert.equal(two.state, "lost");
    assert.equal(two.error.code, "broken");

    world.server.refuses = true;
    world.server.socket.cut();
    await world.pass(59000);
    assert.equal(one.held, true);
    await world.pass(2000);
    assert.equal(one.state, "lost");
    assert.equal(one.error.code, "expired");
});

test("leave() ends locks", async () => {
    const { world, hub, channel } = await joined();
    const lock = channel.lock("x");

    await world.pass(100);
    channel.leave();
    assert.equal(lock.state, "lost");
    hub.close();
    await world.pass(100);
    assert.equal(world.timers, 0);
});

test("signals: the first at once, then the latest", async () => {
    const { world, hub, channel } = await joined();
    const got = [];

    channel.on("signal", (s) => got.push(s.data));

    for (let i = 0; i < 100; i++) {
        channel.signal("cursor", { i });
        channel.signal("cursor", { i }, { tag: "b", every: 1000 });
        await world.pass(5);
    }

    await world.pass(2000);

    const sent = done(world, "signal");
    const plain = sent.filter((c) => !c.tag).map((c) => c.data.i);

    assert.deepEqual(plain, [0, 9, 19, 29, 39, 49, 59, 69, 79, 89, 99]);
    assert.deepEqual(sent.filter((c) => c.tag).map((c) => c.data.i), [0, 99]);

    world.server.socket.say({ channel: "a", signal: "cursor", data: 5 });
    await world.pass(100);
    assert.deepEqual(got, [5]);

    world.server.socket.cut();
    assert.equal(channel.signal("cursor", 1), false, "not while it is cut");
    hub.close();
});
