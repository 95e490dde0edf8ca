/*
 * The demo: what each pane does. The page shows the parts between the marks as
 * they stand here, so what is read there is what runs. How it looks is in
 * demo-view.js.
 */

import { Fanout } from "./client/fanout.js";
import * as view from "./demo-view.js";
import { Network } from "./network.js";

const name = view.introduce();
const network = new Network();
const { fetch } = network.options;      /* so that it can be cut, too */

export const hub = new Fanout("realtime?user=" + encodeURIComponent(name),
                              network.options);


/* [lobby] */
const room = hub.channel("room:lobby", { history: 20 });

room.presence.enter({ seen: 0 });
room.presence.on("change", (members) => {
    view.people([...members.values()], room.presence.me);
});
/* [/lobby] */


/* [chat] */
view.onSay((text) => view.mine(room.publish({ text }), text));
view.onTyping(() => room.signal("typing", true, { every: 1000 }));

room.on("signal", ({ from }) => view.typing(from.user));
room.on("message", (message) => {
    view.message(message);
    room.presence.enter({ seen: message.offset });
});
/* [/chat] */


/* [table] */
const plan = hub.channel("doc:plan");

plan.records.on("change", () => view.table(plan, save));
plan.locks.on("change", (locks) => view.locks(locks));
view.rows.forEach((id) => {
    plan.record(id).on("conflict", view.conflict(id));
});

view.onEdit((cell) => plan.lock(cell));
view.onPointer((at) => plan.signal("pointer", at));
plan.on("signal", ({ from, data }) => view.pointer(from, data));

function save(id, fields) {
    return plan.record(id).set(fields);
}
/* [/table] */


/* [rest] */
const tasks = hub.channel("table:tasks");
let heard;

tasks.on("message", (write) => view.write(write, heard.push(write)));
tasks.on("lost", read);
view.onTask((method, path, task) => fetch("api/tasks" + path, {
    method, body: JSON.stringify(task),
    headers: { "Content-Type": "application/json", "X-User": view.user },
}));

async function read() {
    heard = [];
    await tasks.join();
    view.tasks(await (await fetch("api/tasks")).json(), heard);
}
/* [/rest] */


/* [network] */
hub.on("state", ({ state, reason }) => {
    view.state(hub, state, reason);
});
hub.queue.on("change", (size) => view.queue(size));

view.onNetwork((mode) => {
    network.set(mode);
    hub.reconnect();
});
/* [/network] */


/* [status] */
async function status() {
    const response = await fetch("status?format=json");

    view.status(await response.json());
}
/* [/status] */


plan.join().then(() => view.seed(plan));
read().catch(view.quiet);
view.every(2000, status);
view.show(await (await window.fetch("demo.js")).text());
