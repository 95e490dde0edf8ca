/* src/client/pace.js, and how much of a large reply has come. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { pace, paces } from "../../src/client/pace.js";
import { World } from "./world.js";

function paced(kind, more = {}) {
    const world = new World();
    const is = { hidden: false, saving: false };
    const host = { ...world.host(), hidden: () => is.hidden,
                   saving: () => is.saving, ...more };
    const sent = [];
    const give = pace({ host }, kind,
                      (value) => sent.push([world.now, value]));
    const begin = world.now;

    const turn = (hidden) => {
        is.hidden = hidden;
        world.listeners.visibilitychange.forEach((f) => f({}));
    };

    return { world, is, give, turn,
             sent: () => sent.map(([at, value]) => [at - begin, value]) };
}

test("the numbers", () => {
    assert.deepEqual(paces, {
        text: { after: 500 }, slider: { every: 200 }, checkbox: { after: 0 },
        form: { after: 2000 }, analytics: { every: 10000, gather: true },
    });
    assert.throws(() => paced("words"), /no pace "words"/);
});

test("a text: when nothing came for a while", async () => {
    const { world, give, sent } = paced("text");

    for (const value of ["a", "ab", "abc"]) {
        give(value);
        await world.pass(400);
    }

    assert.deepEqual(sent(), []);
    await world.pass(200);
    assert.deepEqual(sent(), [[1300, "abc"]]);
    await world.pass(5000);
    assert.equal(sent().length, 1);
    assert.equal(world.timers, 0);
});

test("a slider: at once, and then the latest", async () => {
    const { world, give, sent } = paced("slider");

    for (let i = 0; i < 10; i++) {
        give(i);
        await world.pass(50);
    }

    await world.pass(5000);
    assert.deepEqual(sent(), [[0, 0], [200, 3], [400, 7], [600, 9]]);
});

test("a checkbox: each at once", () => {
    const { give, sent } = paced("checkbox");

    give(true);
    give(false);
    assert.deepEqual(sent(), [[0, true], [0, false]]);
});

test("analytics: all of them, together", async () => {
    const { world, give, sent } = paced("analytics");

    give("a");
    await world.pass(6000);
    give("b");
    await world.pass(3999);
    assert.deepEqual(sent(), []);
    await world.pass(1);
    assert.deepEqual(sent(), [[10000, ["a", "b"]]]);

    for (let i = 0; i < 2000; i++) {
        give(i);
    }

    give.flush();
    assert.equal(sent()[1][1].length, 1000);
    assert.equal(sent()[1][1][999], 1999);
});

test("where data is saved it takes four times as long", async () => {
    const { world, is, give, sent } = paced("form");

    is.saving = true;
    give(1);
    await world.pass(7999);
    assert.deepEqual(sent(), []);
    await world.pass(1);
    assert.deepEqual(sent(), [[8000, 1]]);
});

test("a hidden page sends what waits, and then nothing", async () => {
    const { world, give, turn, sent } = paced("text");

    give("a");
    turn(true);
    assert.deepEqual(sent(), [[0, "a"]]);
    give("b");
    give("c");
    await world.pass(60000);
    assert.equal(sent().length, 1);
    turn(false);
    await world.pass(500);
    assert.deepEqual(sent().slice(1), [[60500, "c"]]);
});

test("stop() sends what waits, and ends it", async () => {
    const { world, give, sent } = paced("form");

    give("a");
    give.stop();
    assert.deepEqual(sent(), [[0, "a"]]);
    assert.equal(world.listeners.visibilitychange.length, 0);
    assert.equal(world.timers, 0);
    await world.pass(5000);
    assert.equal(sent().length, 1);
});

test("sync: how much of a large reply has come", async () => {
    const world = new World();
    const hub = world.hub();
    const told = [];

    hub.on("sync", ({ channel, received, done }) => {
        told.push([channel, received, done]);
    });
    world.server.instead = ({ op, id }, socket) => {
        if (op !== "join") {
            return null;
        }

        const list = (from, to) => Array.from({ length: to - from + 1 },
            (_, i) => ({ offset: from + i, data: 0 }));

        socket.say({ id, part: { channel: "a", messages: list(1, 3) } });
        socket.say({ id, part: { channel: "a", members: [{}, {}] } });
        socket.say({ id, ok: { channel: "a", epoch: "e1", offset: 4,
                               messages: list(4, 4) } });

        return true;
    };
    hub.channel("a", { history: 9 }).on("message", () => {});
    await world.pass(100);
    assert.deepEqual(told, [["a", 3, false], ["a", 5, false], ["a", 6, true]]);
});
