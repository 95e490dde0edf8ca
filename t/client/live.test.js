/* src/client/live.js: what components are shown. */

import assert from "node:assert/strict";
import { test } from "node:test";

import * as live from "../../src/client/live.js";
import { World } from "./world.js";

function told(world, data) {
    return world.server.commands
        .filter((c) => c.op === "presence" || c.op === "join")
        .map((c) => c.op === "join" ? c.presence : c.data);
}

test("a component that is mounted twice does not leave", async () => {
    const world = new World();
    const hub = world.hub();
    const first = live.members(hub, "a", { x: 1 }, () => {});

    await world.pass(100);
    first();
    await world.pass(500);

    const second = live.members(hub, "a", { x: 1 }, () => {});

    first();                            /* a second time does nothing */
    await world.pass(5000);
    assert.deepEqual(told(world), [{ x: 1 }]);

    second();
    await world.pass(900);
    assert.deepEqual(told(world), [{ x: 1 }]);
    await world.pass(200);
    assert.deepEqual(told(world), [{ x: 1 }, null]);
});

test("one of two components goes: the other is still a member", async () => {
    const world = new World();
    const hub = world.hub();
    const one = live.members(hub, "a", { x: 1 }, () => {});
    const two = live.members(hub, "a", { x: 2 }, () => {});

    await world.pass(100);
    one();
    await world.pass(5000);
    assert.deepEqual(told(world), [{ x: 2 }]);
    two();
    await world.pass(2000);
    assert.deepEqual(told(world), [{ x: 2 }, null]);
});

test("a late component reads the history, and nothing twice", async () => {
    const world = new World();
    const hub = world.hub();
    const shown = [];
    const options = { history: 9, limit: 3 };
    const show = (into) => ({ messages }) => {
        into.splice(0, into.length, ...messages.map((m) => m.data));
    };

    live.messages(hub, "a", options, show(shown));
    await world.pass(100);

    const say = (offset) => world.server.socket.say(
        { channel: "a", offset, data: offset });

    [1, 2].forEach(say);
    await world.pass(10);

    world.server.instead = ({ op, id }, socket) => {
        if (op !== "history") {
            return null;
        }

        say(3);
        socket.say({ id, ok: {
            channel: "a", epoch: "e1", offset: 3,
            messages: [1, 2, 3].map((n) => ({ offset: n, data: n })),
        } });

        return true;
    };

    const late = [];
    const stop = live.messages(hub, "a", options, show(late));

    await world.pass(100);
    assert.deepEqual(late, [1, 2, 3]);
    say(4);
    await world.pass(100);
    assert.deepEqual(late, [2, 3, 4], "at most limit");
    assert.deepEqual(shown, [2, 3, 4]);

    stop();
    say(5);
    await world.pass(100);
    assert.deepEqual(late, [2, 3, 4], "it has gone");
    assert.deepEqual(shown, [3, 4, 5]);
});

test("a conflict stays until somebody decides", async () => {
    const world = new World();
    const hub = world.hub();
    const record = hub.channel("a").record("r");
    let shown;

    live.record(hub, "a", "r", (value) => shown = value);
    assert.deepEqual([shown.version, shown.pending, shown.conflict],
                     [record.version, 0, undefined]);

    let retried = 0;

    record.emit("conflict", { fields: {}, retry: () => ++retried });
    assert.ok(shown.conflict);
    shown.conflict.drop();
    assert.equal(shown.conflict, undefined);

    record.emit("conflict", { fields: {}, retry: () => ++retried });
    assert.equal(shown.conflict.retry(), 1);
    assert.equal(shown.conflict, undefined);
});
