/*
 * A list of tasks: read from a REST server once, then kept by what NGINX
 * broadcasts of the answers to all writes, this tab's own as well. Writes go to
 * the REST server, as they would without any of this.
 */

"use strict";

const channel = "table:tasks";

const $ = (id) => document.getElementById(id);

const me = "tab-" + Math.random().toString(36).slice(2, 6);
const tasks = new Map();                // by id

let socket = null;
let token = null;                       // gives us our place back
let position = null;                    // { epoch, offset } last seen
let early = null;                       // writes heard while we read
let attempts = 0;


// listening

function connect() {
    const url = new URL("realtime", location.href);

    url.protocol = url.protocol.replace("http", "ws");
    url.search = "?user=" + me;

    const protocols = ["fanout.v1"];

    if (token) {
        protocols.push("fanout.resume." + token);
    }

    show("connecting", position ? "reconnecting" : "connecting");

    const ws = socket = new WebSocket(url, protocols);

    ws.onmessage = (e) => {
        if (ws === socket) {
            [].concat(JSON.parse(e.data)).forEach(receive);
        }
    };

    ws.onclose = () => {
        if (ws === socket) {
            again();
        }
    };
}

function again(after) {
    const ws = socket;

    socket = null;
    attempts++;

    if (after === undefined) {
        after = Math.min(10000, 250 * 2 ** attempts) * (0.5 + Math.random());
    }

    show("cut", "cut, back in " + Math.ceil(after / 1000) + " s");
    setTimeout(connect, after);

    if (ws.readyState === WebSocket.OPEN) {
        ws.close(4000);
    }
}

function join() {
    const command = { id: "join", op: "join", channel };

    if (position) {
        command.since = position;
    }

    socket.send(JSON.stringify(command));
}

function receive(frame) {
    if (frame.welcome) {
        token = frame.welcome.resume;
        attempts = 0;
        join();

    } else if (frame.id === "join" && frame.part) {
        frame.part.messages.forEach(write);

    } else if (frame.id === "join" && frame.ok) {
        joined(frame.ok);

    } else if (frame.error) {
        show("cut", frame.error.message);

    } else if (frame.gap || frame.reset) {
        position = null;
        join();

    } else if (frame.closing && frame.closing.reconnect) {
        again(frame.closing.after);

    } else if (frame.channel === channel) {
        write(frame);
        position = { epoch: position.epoch, offset: frame.offset };
    }
}

// What was missed is told, or else all of it is read again. Writes that come
// while it is read are applied to what was read: none is lost, and one that was
// in it already changes nothing.

async function joined(ok) {
    const missed = position && ok.recovered;

    position = { epoch: ok.epoch, offset: ok.offset };

    if (missed) {
        ok.messages.forEach(write);
    } else {
        await read();
    }

    show("connected", "connected");
}

async function read() {
    early = [];

    const response = await fetch("api/tasks");

    tasks.clear();
    (await response.json()).forEach((task) => tasks.set(task.id, task));

    const heard = early;

    early = null;
    draw();
    heard.forEach(write);
}

function write(m) {
    if (early) {
        early.push(m);
        return;
    }

    if (!m.meta) {
        return;
    }

    const id = Number(m.meta.path.split("/")[3]) || (m.data && m.data.id);

    if (m.event === "DELETE") {
        tasks.delete(id);
    } else if (m.data) {
        tasks.set(m.data.id, m.data);
    }

    draw(id);
    feed(m);
}


// writing: to the REST server, nothing else

async function ask(method, path, body) {
    const response = await fetch("api/" + path, {
        method,
        headers: { "Content-Type": "application/json", "X-User": me },
        body: body && JSON.stringify(body)
    });

    if (!response.ok) {
        show("cut", method + " was answered by " + response.status);
    }
}


// showing

function show(state, text) {
    $("state").dataset.state = state;
    $("state").textContent = text;
    $("send").disabled = state !== "connected";
}

function draw(fresh) {
    const all = [...tasks.values()].sort((a, b) => a.id - b.id);

    $("tasks").replaceChildren(...all.map((task) => row(task, fresh)));
    $("open").textContent = all.filter((task) => !task.done).length;
    $("all").textContent = all.length;
}

function row(task, fresh) {
    const box = element("input", "");
    const remove = element("button", "", "Remove");
    const li = element("li", task.done ? "done" : "",
        element("label", "", box, element("span", "", String(task.title))),
        remove);

    box.type = "checkbox";
    box.checked = Boolean(task.done);
    box.onchange = () => ask("PATCH", "tasks/" + task.id,
                             { done: box.checked });

    remove.type = "button";
    remove.setAttribute("aria-label", "Remove " + task.title);
    remove.onclick = () => ask("DELETE", "tasks/" + task.id);

    if (task.id === fresh) {
        li.classList.add("fresh");
        setTimeout(() => li.classList.remove("fresh"), 150);
    }

    return li;
}

function feed(m) {
    const by = m.from && m.from.user;

    $("feed").append(element("li", "",
        element("span", "method", m.event), " " + m.meta.path + " ",
        element("span", "by", m.meta.status + ", "
            + (by === me ? "this tab" : by || "somebody")
            + ", #" + m.offset)));

    while ($("feed").childElementCount > 100) {
        $("feed").firstChild.remove();
    }

    $("feed").scrollTop = $("feed").scrollHeight;
}

function element(tag, className, ...children) {
    const e = document.createElement(tag);

    e.className = className;
    e.append(...children);              // strings become text, never HTML

    return e;
}

async function copy(button) {
    const code = $(button.dataset.copy);

    getSelection().selectAllChildren(code);

    try {
        await navigator.clipboard.writeText(code.textContent);
        button.textContent = "Copied";
        setTimeout(() => { button.textContent = "Copy"; }, 1500);

    } catch {
        // it is selected at least
    }
}


$("curl").textContent = "curl -H 'Content-Type: application/json' "
    + "-d '{\"title\":\"written by curl\",\"done\":false}' "
    + new URL("api/tasks", location.href);

$("add").onsubmit = (e) => {
    const title = $("title").value.trim();

    e.preventDefault();

    if (title && !$("send").disabled) {
        ask("POST", "tasks", { title, done: false });
        $("title").value = "";
    }
};

for (const button of document.querySelectorAll("[data-copy]")) {
    button.onclick = () => copy(button);
}

connect();
