/*
 * How the demo looks: demo.js calls these with what it hears, and they call it
 * back with what a person does. Strings of others become text, never HTML.
 */

const $ = (id) => document.getElementById(id);

const words = [
    ["Amber", "Brave", "Calm", "Dapper", "Eager", "Gentle", "Jolly", "Keen",
     "Lucky", "Merry", "Nimble", "Quiet"],
    ["Badger", "Crane", "Dolphin", "Finch", "Gecko", "Heron", "Lynx", "Otter",
     "Puffin", "Raven", "Seal", "Wren"],
];

/* by slot; white is readable on each */

const colours = ["#0369a1", "#c2410c", "#7c3aed", "#15803d", "#be185d",
                 "#966008", "#0f766e", "#b91c1c", "#4338ca", "#4d7c0f",
                 "#86198f", "#475569"];

export const rows = ["r1", "r2", "r3"];
const fields = ["item", "owner", "state"];
const first = [["Pick a date", "", "open"], ["Book the venue", "", "open"],
               ["Send invitations", "", "later"]];

export let user;                        /* as the server knows this tab */
export const quiet = () => {};

const members = new Map();              /* user: member */
const sent = new Map();                 /* key: li of a message of this tab */
const typists = new Map();              /* user: timer */
const pointers = new Map();             /* client: { element, timer } */
let me;

export function introduce() {
    const name = sessionStorage.getItem("demo")
        || words.map((w) => w[Math.floor(Math.random() * w.length)]).join(" ");

    sessionStorage.setItem("demo", name);
    user = encodeURIComponent(name);    /* $arg_user is not decoded */
    $("me").textContent = name;

    return name;
}

function called(of) {
    try {
        return decodeURIComponent(of || "somebody");

    } catch {
        return of;
    }
}

function element(tag, className, ...children) {
    const e = document.createElement(tag);

    e.className = className;
    e.append(...children);

    return e;
}

function tint(e, of) {
    const member = members.get(of);

    if (member) {
        e.style.setProperty("--slot", colours[member.slot % colours.length]);
    }

    return e;
}

/* Calls f now and then; what it throws without a network is no news. */

export function every(ms, f) {
    const run = () => document.hidden || f().catch(quiet);

    run();
    setInterval(run, ms);
}


/* lobby */

export function people(list, own) {
    me = own;
    members.clear();
    list.sort((a, b) => a.joined_at - b.joined_at);
    list.forEach((m) => members.set(m.user, m));

    $("people").replaceChildren(...list.map((m) => {
        const who = called(m.user);
        const face = element("span", "face", who.split(" ").map((w) => w[0])
            .slice(0, 2).join(""));

        face.ariaHidden = "true";

        return tint(element("li", m === own ? "you" : "", face,
            element("span", "called", who + (m === own ? " (you)" : ""))),
            m.user);
    }));
    $("here").textContent = list.length;
    $("alone").hidden = list.length > 1;
    ticks();
}


/* chat: … waits, ✓ the server has it, ✓✓ everybody here has it */

export function onSay(f) {
    $("say").onsubmit = (e) => {
        const text = $("text").value.trim();

        e.preventDefault();
        $("text").value = "";

        if (text) {
            f(text);
        }
    };
}

export function onTyping(f) {
    $("text").oninput = () => $("text").value && f();
}

export function typing(from) {
    clearTimeout(typists.get(from));
    typists.set(from, setTimeout(() => {
        typists.delete(from);
        drawTypists();
    }, 3000));
    drawTypists();
}

function drawTypists() {
    const names = [...typists.keys()].map(called);

    $("typing").textContent = names.length
        ? names.join(", ") + (names.length > 1 ? " are" : " is") + " typing…"
        : "";
}

export function mine(sending, text) {
    const li = bubble(text, user);

    sent.set(sending.key, li);
    sending.on("state", () => mark(li, sending));
    mark(li, sending);
}

function mark(li, { state, result, error }) {
    li.dataset.state = state;
    li.dataset.offset = result ? result.offset : "";
    li.dataset.error = error ? error.code : "";
    ticks();
}

export function message({ key, offset, data, from = {} }) {
    const li = sent.get(key) || bubble(String(data && data.text), from.user);

    if (typists.has(from.user)) {
        clearTimeout(typists.get(from.user));
        typists.delete(from.user);
        drawTypists();
    }

    sent.delete(key);
    li.dataset.offset = offset;
    li.dataset.state = "sent";
    ticks();
}

function bubble(text, of) {
    const own = of === user;
    const li = element("li", own ? "own" : "",
        element("span", "by", own ? "You" : called(of)),
        element("span", "said", text), element("span", "tick"));

    tint(li, of);
    $("log").append(li);
    $("log").scrollTop = $("log").scrollHeight;

    return li;
}

function ticks() {
    const others = [...members.values()].filter((m) => m !== me);

    for (const li of $("log").querySelectorAll(".own")) {
        const { state, offset, error } = li.dataset;
        const all = others.length
            && others.every((m) => m.data && m.data.seen >= offset);
        const [tick, title] = state === "failed" ? ["!", "Failed: " + error]
            : state !== "sent" ? ["…", "Waits for a connection"]
            : all ? ["✓✓", "Everybody here has it"]
            : ["✓", "The server has it"];

        li.lastChild.textContent = tick;
        li.lastChild.title = title;
        li.classList.toggle("all", tick === "✓✓");
    }
}


/* the table */

let edit = () => {};
let editing;                            /* a lock */

export function onEdit(f) {
    edit = f;
}

export function seed({ records, record }) {
    rows.forEach((id, i) => records.has(id) || record(id).set(
        Object.fromEntries(fields.map((f, j) => [f, first[i][j]])),
        { create: true }));
}

function cell(id, field, save) {
    const name = id + "." + field;
    const input = element("input", "");

    input.id = name;
    input.autocomplete = "off";
    input.maxLength = 60;
    input.setAttribute("aria-label", field + ", row " + id.slice(1));
    input.onfocus = () => {
        editing = edit(name);           /* where it fails, a conflict tells */
    };
    input.onblur = () => {
        const before = input.dataset.value;

        editing?.release();
        editing = undefined;

        if (input.value !== before) {
            save(id, { [field]: input.value }).catch(quiet);
        }
    };
    input.onkeydown = (e) => {
        if (e.key === "Escape") {
            input.value = input.dataset.value;
        }

        if (e.key === "Escape" || e.key === "Enter") {
            input.blur();
        }
    };

    return element("td", "", input, element("span", "holder"));
}

export function table(plan, save) {
    for (const id of rows) {
        const { fields: values = {}, pending } = plan.record(id);

        if (!$(id)) {
            const tr = element("tr", "", ...fields.map(
                (f) => cell(id, f, save)), element("td", "mark"));

            tr.id = id;
            $("rows").append(tr);
        }

        for (const field of fields) {
            const input = $(id + "." + field);
            const value = String(values[field] ?? "");

            input.dataset.value = value;

            if (input !== document.activeElement) {
                input.value = value;
            }
        }

        const saved = $(id).lastChild;

        saved.replaceChildren(
            element("span", "word", pending ? "saving" : "saved "),
            pending ? "…" : "✓");
        saved.classList.toggle("pending", pending > 0);
    }
}

/* Who edits a cell, in it. */

export function locks(all) {
    for (const td of $("rows").querySelectorAll("td:has(input)")) {
        const held = all.get(td.firstChild.id);
        const other = held && held.holder.client !== shown.client;

        td.firstChild.readOnly = !!other;
        td.lastChild.textContent = other ? called(held.holder.user) : "";
        td.classList.toggle("held", !!other);
        tint(td, other ? held.holder.user : user);
    }
}

/* A change of the same cell by two: nothing is overwritten unseen. */

export function conflict(id) {
    return ({ fields: told, retry }) => {
        for (const [field, { mine: own, value, user: by }]
            of Object.entries(told))
        {
            if (own === undefined || value === undefined) {
                continue;               /* a row that two have begun */
            }

            const yes = element("button", "", "Use mine");
            const no = element("button", "", "Keep theirs");
            const li = element("li", "", element("p", "",
                element("b", "", called(by)), " wrote “" + value
                + "”, you wrote “" + own + "”."), no, yes);

            li.id = "conflict-" + id + "." + field;
            no.onclick = () => li.remove();
            yes.onclick = () => {
                li.remove();
                retry().catch(quiet);
            };
            $(li.id)?.remove();
            $("conflicts").append(li);
        }
    };
}

/* Pointers, as a part of the pane, which is of another size elsewhere. */

export function onPointer(f) {
    const part = (v, size) => Math.round(v / size * 1000) / 1000;

    $("sheet").onpointermove = (e) => {
        const box = $("sheet").getBoundingClientRect();

        f({ x: part(e.clientX - box.left, box.width),
            y: part(e.clientY - box.top, box.height) });
    };
    $("sheet").onpointerleave = () => f(null);
}

export function pointer({ client, user: of }, at) {
    const old = pointers.get(client);
    const e = old ? old.element : tint(element("i", "pointer",
        element("span", "", called(of))), of);

    clearTimeout(old?.timer);
    pointers.delete(client);

    if (!at || !(at.x >= 0 && at.x <= 1 && at.y >= 0 && at.y <= 1)) {
        e.remove();
        return;
    }

    e.style.left = at.x * 100 + "%";
    e.style.top = at.y * 100 + "%";
    e.classList.toggle("flip", at.x > 0.6);
    $("pointers").append(e);
    pointers.set(client, { element: e, timer: setTimeout(
        () => pointer({ client }, null), 5000) });
}


/* the REST list */

const list = new Map();                 /* id: task */
let ask = () => {};

export function onTask(f) {
    ask = async (...args) => {
        try {
            const { ok, status } = await f(...args);

            $("refused").textContent = ok ? "" : "Answered by " + status + ".";

        } catch {
            $("refused").textContent =
                "No network: a plain request is lost without one.";
        }
    };

    $("add").onsubmit = (e) => {
        const title = $("title").value.trim();

        e.preventDefault();

        if (title) {
            $("title").value = "";
            ask("POST", "", { title, done: false });
        }
    };
}

/* What was heard while the list was read may be newer than the list. */

export function tasks(all, heard) {
    list.clear();
    all.forEach((task) => list.set(String(task.id), task));
    heard.forEach(apply);
    drawTasks();
}

function apply({ event, data, meta }) {
    const id = meta.path.split("/")[3] || String(data && data.id);

    if (event === "DELETE") {
        list.delete(id);

    } else if (data) {
        list.set(id, data);
    }

    return id;
}

export function write(m) {
    const by = m.from && m.from.user;

    drawTasks(apply(m));
    $("write").textContent = m.event + " " + m.meta.path + " → "
        + m.meta.status + ", by "
        + (by === user ? "you" : by ? called(by) : "a shell");
}

function drawTasks(fresh) {
    $("tasks").replaceChildren(...[...list].map(([id, task]) => {
        const box = element("input", "");
        const remove = element("button", "quiet", "×");

        box.type = "checkbox";
        box.checked = Boolean(task.done);
        box.onchange = () => ask("PATCH", "/" + id, { done: box.checked });
        remove.type = "button";
        remove.setAttribute("aria-label", "Remove " + task.title);
        remove.onclick = () => ask("DELETE", "/" + id);

        return element("li", (task.done ? "done" : "")
                             + (id === fresh ? " fresh" : ""),
            element("label", "", box,
                    element("span", "", String(task.title))), remove);
    }));
}


/* network */

export function onNetwork(f) {
    for (const radio of document.querySelectorAll("[name=network]")) {
        radio.onchange = () => f(radio.value);
    }
}

let shown;                              /* the hub */

export function state(hub, now, reason) {
    shown = hub;
    $("state").textContent = now;
    $("state").dataset.state = now;
    $("states").append(element("li", "",
        element("time", "", new Date().toLocaleTimeString()), " " + now
        + (now === "connected" ? " by " + transport(hub)
           : reason ? ": " + reason.code : "")));

    while ($("states").childElementCount > 50) {
        $("states").firstChild.remove();
    }

    $("states").scrollTop = $("states").scrollHeight;
    drawNetwork();
}

function transport({ transport: way }) {
    return { websocket: "WebSocket", sse: "event stream + POST",
             poll: "long polls + POST" }[way] || "–";
}

function drawNetwork() {
    $("transport").textContent = shown.connected ? transport(shown) : "–";
    $("rtt").textContent = shown.rtt === undefined ? "–"
                           : Math.round(shown.rtt) + " ms";
}

export function queue(size) {
    $("queue").textContent = size;
    $("queue").classList.toggle("some", size > 0);
}


/* status */

export function status({ zone, workers }) {
    const sessions = workers.reduce((sum, w) => sum + w.sessions, 0);

    $("sessions").textContent = sessions;
    $("members").textContent = zone.members;
    $("locks").textContent = zone.locks;
    $("records").textContent = zone.records;
    $("memory").textContent = ((zone.blocks - zone.free) * zone.block_size
                               / 1024).toFixed(0) + " KB";
    $("workers").textContent = workers.map((w) => w.pid).join(", ");

    if (shown) {
        drawNetwork();
    }
}


/* code beside each pane, and buttons that copy */

export function show(source) {
    for (const pre of document.querySelectorAll("[data-code]")) {
        const mark = pre.dataset.code;
        const from = source.indexOf("/* [" + mark + "] */\n");
        const to = source.indexOf("/* [/" + mark + "] */");

        pre.textContent = source.slice(from + mark.length + 9, to).trim();
    }
}

async function copy(button) {
    const code = $(button.dataset.copy);

    getSelection().selectAllChildren(code);

    try {
        await navigator.clipboard.writeText(code.textContent);
        button.textContent = "Copied";
        setTimeout(() => { button.textContent = "Copy"; }, 1500);

    } catch {
        /* it is selected at least */
    }
}

for (const button of document.querySelectorAll("[data-copy]")) {
    button.onclick = () => copy(button);
}

$("curl").textContent = "curl -H 'Content-Type: application/json' "
    + "-d '{\"title\":\"written by curl\",\"done\":false}' "
    + new URL("api/tasks", location.href);
