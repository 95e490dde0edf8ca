/*
 * A shared table over the client of nginx-fanout (docs/client.md).  A row is a
 * record, a cell is a field of it.
 *
 * Who edits a cell holds the lock "row.field" meanwhile.  A change names the
 * version that its author had seen: what others have changed since in other
 * cells is merged, what they have changed in the same cell is told, and nothing
 * is overwritten unseen.  The client keeps changes made offline.
 */

import { Fanout } from "./client/fanout.js";
import { Network } from "./network.js";

const fields = ["task", "who", "state"];
const ttl = 20000;                      // ms that a lock lasts, if not renewed

const first = [["Write the docs", "", "open"], ["Mend the bug", "", "open"],
               ["Make coffee", "", "done"]];

const $ = (id) => document.getElementById(id);

const network = new Network(wire);
let hub;
let table;                              // the channel
let editing = null;                     // { row, field, base, was, lock }

const watched = new Set();              // rows whose conflicts we hear
const made = new Set();                 // rows that this tab is making
const unsent = new Map();               // cell: changes on their way
const conflicts = new Map();            // cell: what to decide


// connecting

function connect() {
    const url = new URL("realtime", location.href);

    url.search = "?user=" + encodeURIComponent(name());
    watched.clear();

    hub = new Fanout(url, network.options);
    table = hub.channel("table:demo");

    hub.on("state", show);
    table.on("state", show);
    table.on("error", ({ code, message }) => note(code + ": " + message));
    table.records.on("change", draw);
    table.locks.on("change", draw);
    table.join().then(() => {
        if (table.records.size === 0) {
            first.forEach((cells, i) => create("row-" + (i + 1), cells));
        }
    }, () => {});
    show();
}

function offline() {
    return network.mode === "down";
}

function toggle() {
    network.set(offline() ? "up" : "down");
    $("offline").textContent = offline() ? "Come back" : "Go offline";

    if (offline()) {
        note("You are offline. What you change is sent when you come back.");

    } else {
        hub.reconnect();
    }

    show();
    draw();
}


// rows

function create(row, cells) {
    made.add(row);
    watch(row);
    table.record(row)
        .set(Object.fromEntries(fields.map((f, i) => [f, cells[i]])),
             { create: true })
        .catch(() => {})                // another tab was faster
        .finally(() => made.delete(row));
}

function watch(row) {
    if (!watched.has(row)) {
        watched.add(row);
        table.record(row).on("conflict", (c) => made.has(row)
                                                || conflict(row, c));
    }
}

function value(row, field) {
    const has = table.records.get(row);

    return String(has && has.fields[field] || "");
}

function fresh(td) {
    td.classList.remove("fresh");
    td.getBoundingClientRect();         // so that it begins anew
    td.classList.add("fresh");
}


// editing

function begin(row, field) {
    const at = row + "." + field;
    const lock = table.lock(at, { ttl });
    const edit = editing = { row, field, at, lock, was: value(row, field),
                             base: table.record(row).version };

    lock.on("state", ({ state, error }) => {
        if (state === "failed" && error.code === "locked"
            && edit === editing)
        {
            note((who(error.data.holder) || "Somebody")
                 + " is editing this cell.");
            cell(at).firstChild.blur();
        }
    });
}

function cell(at) {
    return document.querySelector(`td[data-cell="${CSS.escape(at)}"]`);
}

function end(text) {
    const { row, field, base, was, lock } = editing;
    const release = () => lock.release();

    editing = null;

    if (text === was) {
        release();

    } else {
        change(row, field, base, text, lock.held ? { token: lock.token } : {})
            .then(release, release);
    }

    draw();
}

async function change(row, field, base, text, token) {
    const at = row + "." + field;
    const count = (n) => unsent.set(at, (unsent.get(at) || 0) + n);

    count(1);

    try {
        const { version } = await table.record(row)
            .set({ [field]: text }, { base, ...token });

        if (version > base + 1) {
            note("Merged with what others changed in “"
                 + value(row, "task") + "”.");
        }

    } catch (error) {
        if (error.code === "not_holder") {
            // the lock is over, the change is not: the versions decide
            await change(row, field, base, text);

        } else if (error.code !== "conflict") {
            note(error.code + ": " + error.message);
        }
    }

    count(-1);
    draw();
}

function conflict(row, { fields: told, retry }) {
    for (const [field, other] of Object.entries(told)) {
        conflicts.set(row + "." + field, { field, other, retry });
    }

    note("A conflict: nothing was overwritten.");
    draw();
}

function decide(at, mine) {
    const { retry } = conflicts.get(at);

    conflicts.delete(at);

    if (mine) {
        retry().catch(({ code, message }) => code === "conflict"
                                             || note(code + ": " + message));
    }

    draw();
}


// locks

function who(holder) {
    return holder && (holder.user ? decoded(holder.user) : "somebody");
}

function holder(at) {
    const lock = table.locks.get(at);

    return lock && lock.holder && lock.holder.client !== hub.client
           ? who(lock.holder) : "";
}


// showing

function draw() {
    const body = $("rows");
    const ids = [...table.records.keys()].sort();

    for (const tr of [...body.children]) {
        if (!table.records.has(tr.dataset.row)) {
            tr.remove();
        }
    }

    ids.forEach((id, i) => {
        let tr = body.children[i];

        watch(id);

        if (!tr || tr.dataset.row !== id) {
            tr = element("tr", "", ...fields.map((f) => input(id, f)));
            tr.dataset.row = id;
            body.insertBefore(tr, body.children[i] || null);
        }

        fields.forEach((f, n) => drawCell(tr.children[n], id, f));
    });

    $("add").disabled = offline();
    drawConflicts();
}

function drawCell(td, row, field) {
    const box = td.firstChild;
    const at = row + "." + field;
    const other = holder(at);
    const text = value(row, field);
    const own = unsent.get(at) > 0;

    if (td.dataset.value !== undefined && td.dataset.value !== text && !own) {
        fresh(td);
    }

    td.dataset.value = text;

    if (document.activeElement !== box) {
        box.value = text;
    }

    box.readOnly = other !== "";
    td.dataset.holder = other;
    td.classList.toggle("held", other !== "");
    td.classList.toggle("unsent", own);
}

function input(row, field) {
    const box = element("input", "");
    const td = element("td", "", box);

    td.dataset.cell = row + "." + field;
    box.setAttribute("aria-label", field + " of " + row);
    box.autocomplete = "off";
    box.maxLength = 200;

    box.onfocus = () => box.readOnly || begin(row, field);
    box.onblur = () => editing && editing.at === td.dataset.cell
                       && end(box.value);
    box.onkeydown = (e) => {
        if (e.key === "Escape" && editing) {
            box.value = editing.was;
        }

        if (e.key === "Enter" || e.key === "Escape") {
            box.blur();
        }
    };

    return td;
}

function drawConflicts() {
    $("conflicts").replaceChildren(...[...conflicts].map(([at, c]) => {
        const { mine, value: theirs, user } = c.other;
        const by = user ? decoded(user) : "Somebody";

        return element("li", "",
            element("div", "", c.field + ": you wrote “" + mine + "”, " + by
                + " wrote "
                + (theirs === undefined ? "nothing" : "“" + theirs + "”")
                + "."),
            button("Keep mine", () => decide(at, true)),
            button("Take theirs", () => decide(at, false)));
    }));
}

function button(text, click) {
    const b = element("button", "", text);

    b.type = "button";
    b.onclick = click;

    return b;
}

function show() {
    const here = hub.connected && table.joined;

    $("state").dataset.state = here ? "connected"
        : offline() || hub.state === "closed" ? "cut" : "connecting";
    $("state").textContent = here ? "connected"
        : offline() ? "offline"
        : hub.state === "connected" ? "joining" : hub.state;
}

function note(text) {
    const list = $("notes");

    list.prepend(element("li", "", text));

    while (list.childElementCount > 6) {
        list.lastChild.remove();
    }
}

function wire(direction, text) {
    const list = $("wire");

    text = text.replace(/"r_[0-9a-f]+"/g, '"r_…"');
    list.append(element("li", direction,
                        (direction === "out" ? "→ " : "← ") + text));

    while (list.childElementCount > 30) {
        list.firstChild.remove();
    }

    list.scrollTop = list.scrollHeight;
}

function element(tag, className, ...children) {
    const e = document.createElement(tag);

    e.className = className;
    e.append(...children);              // strings become text, never HTML

    return e;
}


// the name is that of the room, if this tab has been there

function name() {
    return sessionStorage.getItem("name") || "";
}

// a user is what the URL had: percent-encoded

function decoded(user) {
    try {
        return decodeURIComponent(user);

    } catch {
        return user;
    }
}

// a name belongs to a session, and what waits to that of its author

function rename() {
    const wanted = $("name").value.trim();

    if (wanted && wanted !== name()) {
        if (hub.queue.size) {
            note("Come back first: changes of " + name() + " wait.");

        } else {
            sessionStorage.setItem("name", wanted);
            hub.close();
            connect();
        }
    }

    $("name").value = name();
}

if (!name()) {
    sessionStorage.setItem("name",
        "Guest " + (1 + crypto.getRandomValues(new Uint16Array(1))[0] % 999));
}

$("name").value = name();
$("rename").onsubmit = (e) => { e.preventDefault(); $("name").blur(); };
$("name").onblur = rename;
$("offline").onclick = toggle;
$("add").onclick = () => create("row-" + Date.now().toString(36), ["", "", ""]);

connect();
