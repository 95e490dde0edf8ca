/*
 * A shared table over the native protocol of nginx-fanout (docs/protocol.md,
 * docs/records.md).  A row is a record, a cell is a field of it.
 *
 * Who edits a cell holds the lock "row.field" meanwhile.  A change names the
 * version that its author had seen: what others have changed since in other
 * cells is merged, what they have changed in the same cell is told, and nothing
 * is overwritten unseen.  Changes made offline are sent with the versions of
 * then, as one array.
 */

"use strict";

const channel = "table:demo";
const fields = ["task", "who", "state"];
const ttl = 20000;                      // ms that a lock lasts, if not renewed

const first = [["Write the docs", "", "open"], ["Mend the bug", "", "open"],
               ["Make coffee", "", "done"]];

const $ = (id) => document.getElementById(id);

let socket = null;
let client = null;                      // our public id
let token = null;                       // secret: who has it is us
let position = null;                    // { epoch, offset } last seen
let offline = false;                    // on purpose
let attempts = 0;
let asked = 0;                          // for the ids of commands
let editing = null;                     // { row, field, base, was, lock }

const rows = new Map();                 // by id: { version, fields }
const gone = new Map();                 // by id: version of the delete
const locks = new Map();                // by name: what was told of it
const unsent = new Map();               // by cell: a change without a reply
const waiting = new Map();              // by id of a command: its reply's use
const conflicts = new Map();            // by cell: what to decide


// connecting

function connect() {
    const url = new URL("realtime", location.href);

    url.protocol = url.protocol.replace("http", "ws");
    url.search = "?user=" + encodeURIComponent(name());

    show("connecting", token ? "reconnecting" : "connecting");

    const ws = socket = new WebSocket(url,
        token ? ["fanout.v1", "fanout.resume." + token] : ["fanout.v1"]);

    ws.onmessage = (e) => {
        if (ws === socket) {
            wire("in", e.data);
            [].concat(JSON.parse(e.data)).forEach(receive);
        }
    };

    ws.onclose = () => {
        if (ws === socket) {
            lost();
        }
    };
}

function lost() {
    const after = Math.min(10000, 250 * 2 ** attempts++)
                  * (0.5 + Math.random());

    socket = null;
    waiting.clear();
    locks.clear();
    show("cut", "cut, back in " + Math.ceil(after / 1000) + " s");
    setTimeout(() => offline || socket || connect(), after);
    draw();
}

// 4000 is an end that the server doesn't take for a goodbye

function toggle() {
    offline = !offline;
    $("offline").textContent = offline ? "Come back" : "Go offline";

    if (!offline) {
        connect();
        return;
    }

    const ws = socket;

    socket = null;
    waiting.clear();
    locks.clear();

    if (ws) {
        ws.close(4000, "offline");
    }

    show("cut", "offline");
    note("You are offline. What you change is sent when you come back.");
    draw();
}

function joined(ok) {
    position = { epoch: ok.epoch, offset: ok.offset };

    (ok.messages || []).forEach(entry);
    (ok.locks || []).forEach((l) => locks.set(l.name, l));
    show("connected", "connected");
    draw();

    if (rows.size === 0 && gone.size === 0) {
        first.forEach((cells, i) => create("row-" + (i + 1), cells));
    }

    if (unsent.size) {
        note(unsent.size === 1 ? "Your change is sent."
             : "Your " + unsent.size + " changes are sent.");
        send([...unsent.values()].map(command));
    }
}

function join() {
    call({ op: "join", channel, want: ["records", "locks"],
           ...position && { since: position } }, (reply) => {
        const { ok, error } = reply;

        if (error) {
            note(error.code + ": " + error.message);
            return;
        }

        if (!ok.recovered) {
            rows.clear();
            gone.clear();
            reply.parts.concat(ok).forEach((part) => {
                Object.entries(part.records || {})
                    .forEach(([id, r]) => rows.set(id, r));
            });
        }

        locks.clear();
        reply.parts.forEach((part) => {
            (part.messages || []).forEach(entry);
            (part.locks || []).forEach((l) => locks.set(l.name, l));
        });
        joined(ok);
    });
}


// talking

function send(commands) {
    const text = JSON.stringify(commands);

    wire("out", text);
    socket.send(text);
}

function listen(use) {
    const id = ++asked;

    waiting.set(id, { use, parts: [] });

    return id;
}

function call(command, use) {
    if (socket && socket.readyState === 1) {
        send({ id: listen(use), ...command });
    }
}

function receive(frame) {
    const waits = waiting.get(frame.id);

    if (frame.welcome) {
        client = frame.welcome.client;
        token = frame.welcome.resume;
        attempts = 0;
        join();

    } else if (waits && frame.part) {
        waits.parts.push(frame.part);

    } else if (waits) {
        waiting.delete(frame.id);
        waits.use({ ...frame, parts: waits.parts });

    } else if (frame.gap || frame.reset) {
        // what was missed is read again
        position = null;
        join();

    } else if (frame.closing && frame.closing.reconnect) {
        const ws = socket;

        lost();
        ws.close(4000);

    } else if (frame.channel === channel && frame.offset) {
        position.offset = frame.offset;

        if (frame.lock) {
            locked(frame.lock);

        } else {
            entry(frame);
        }

        draw();
    }
}


// rows

// an entry whose version is not above that of the row changes nothing

function entry(e) {
    const row = rows.get(e.record);

    if (!e.record
        || e.version <= (row ? row.version : gone.get(e.record) || 0))
    {
        return;
    }

    if (e.deleted) {
        rows.delete(e.record);
        gone.set(e.record, e.version);
        return;
    }

    const now = { ...row && !e.created && row.fields, ...e.set };

    (e.unset || []).forEach((f) => delete now[f]);
    rows.set(e.record, { version: e.version, fields: now });

    if (!e.from || e.from.client !== client) {
        Object.keys(e.set || {}).forEach((f) => fresh(e.record, f));
    }
}

function create(row, cells) {
    call({ op: "set", channel, record: row, base: 0, mode: "reject",
           set: Object.fromEntries(fields.map((f, i) => [f, cells[i]])) },
         () => {});
}

function value(row, field) {
    const change = unsent.get(row + "." + field);
    const has = rows.get(row);

    return change ? change.value
                  : String(has && has.fields[field] || "");
}

function cell(row, field) {
    return document.querySelector(
        `td[data-cell="${CSS.escape(row + "." + field)}"]`);
}

function fresh(row, field) {
    const td = cell(row, field);

    if (td) {
        td.classList.remove("fresh");
        td.getBoundingClientRect();     // so that it begins anew
        td.classList.add("fresh");
    }
}


// editing

function begin(row, field) {
    const lock = row + "." + field;
    const has = rows.get(row);

    editing = { row, field, lock, base: has ? has.version : 0,
                was: value(row, field), token: 0 };

    hold(editing);
}

// half of the time before it is over, it is renewed

function hold(edit) {
    call({ op: "lock", channel, name: edit.lock, ttl }, ({ ok, error }) => {
        if (ok && edit === editing) {
            edit.token = ok.token;
            clearTimeout(edit.timer);
            edit.timer = setTimeout(() => edit === editing && hold(edit),
                                    ttl / 2);

        } else if (ok) {
            release(edit);

        } else if (error.code === "locked" && edit === editing) {
            const { holder } = error.data;

            note((who(holder) || "Somebody") + " is editing this cell.");
            cell(edit.row, edit.field).firstChild.blur();
        }
    });
}

function release(edit) {
    call({ op: "unlock", channel, name: edit.lock }, () => {});
}

function end(text) {
    const edit = editing;

    editing = null;
    clearTimeout(edit.timer);

    if (text !== edit.was) {
        change(edit.row, edit.field, edit.base, text, edit.token && edit);

    } else if (edit.token) {
        release(edit);
    }

    draw();
}

function change(row, field, base, text, edit) {
    const old = unsent.get(row + "." + field);
    const made = { row, field, value: text, base: old ? old.base : base,
                   key: crypto.getRandomValues(new Uint32Array(4)).join("-") };

    unsent.set(row + "." + field, made);

    if (socket && socket.readyState === 1) {
        send({ ...command(made),
               ...edit && { token: edit.token, release: edit.lock } });
    }
}

function command(made) {
    const { row, field, base, key } = made;

    return { id: listen((reply) => replied(made, reply)), op: "set", channel,
             record: row, base, mode: "merge", key,
             set: { [field]: made.value } };
}

function replied(made, { ok, error }) {
    const at = made.row + "." + made.field;

    if (unsent.get(at) === made) {
        unsent.delete(at);
    }

    if (error && error.code === "not_holder") {
        // the lock is over, the change is not: the versions decide
        change(made.row, made.field, made.base, made.value);

    } else if (error && error.code === "conflict" && error.data.rejected) {
        conflict(made, error.data.rejected[made.field], error.data.version);

    } else if (error) {
        note(error.code + ": " + error.message);

    } else if (ok.rejected) {
        conflict(made, ok.rejected[made.field], ok.version);

    } else if (ok.version > made.base + 1) {
        note("Merged with what others changed in “"
             + value(made.row, "task") + "”.");
    }

    draw();
}

function conflict(made, other, version) {
    conflicts.set(made.row + "." + made.field, { made, other, version });
    note("A conflict: nothing was overwritten.");
}

function decide(at, mine) {
    const { made, version } = conflicts.get(at);

    conflicts.delete(at);

    if (mine) {
        change(made.row, made.field, version, made.value);
    }

    draw();
}


// locks

function locked(lock) {
    if (lock.holder) {
        locks.set(lock.name, lock);

    } else {
        locks.delete(lock.name);
    }
}

function who(holder) {
    return holder && (holder.user ? decoded(holder.user) : "somebody");
}

function holder(row, field) {
    const lock = locks.get(row + "." + field);

    return lock && lock.holder && lock.holder.client !== client
           ? who(lock.holder) : "";
}


// showing

function draw() {
    const body = $("rows");
    const ids = [...rows.keys()].sort();

    for (const tr of [...body.children]) {
        if (!rows.has(tr.dataset.row)) {
            tr.remove();
        }
    }

    ids.forEach((id, i) => {
        let tr = body.children[i];

        if (!tr || tr.dataset.row !== id) {
            tr = element("tr", "", ...fields.map((f) => input(id, f)));
            tr.dataset.row = id;
            body.insertBefore(tr, body.children[i] || null);
        }

        fields.forEach((f, n) => drawCell(tr.children[n], id, f));
    });

    $("add").disabled = offline;
    drawConflicts();
}

function drawCell(td, row, field) {
    const box = td.firstChild;
    const other = holder(row, field);

    if (document.activeElement !== box) {
        box.value = value(row, field);
    }

    box.readOnly = other !== "";
    td.dataset.holder = other;
    td.classList.toggle("held", other !== "");
    td.classList.toggle("unsent", unsent.has(row + "." + field));
}

function input(row, field) {
    const box = element("input", "");
    const td = element("td", "", box);

    td.dataset.cell = row + "." + field;
    box.setAttribute("aria-label", field + " of " + row);
    box.autocomplete = "off";
    box.maxLength = 200;

    box.onfocus = () => box.readOnly || begin(row, field);
    box.onblur = () => editing && editing.lock === td.dataset.cell
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
        const theirs = c.other && "value" in c.other
            ? "“" + c.other.value + "”" : "nothing";
        const by = c.other && c.other.user ? decoded(c.other.user)
                                           : "Somebody";

        return element("li", "",
            element("div", "", c.made.field + ": you wrote “" + c.made.value
                               + "”, " + by + " wrote " + theirs + "."),
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

function show(state, text) {
    $("state").dataset.state = state;
    $("state").textContent = text;
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

function rename() {
    const wanted = $("name").value.trim();

    if (wanted && wanted !== name()) {
        sessionStorage.setItem("name", wanted);

        // a name belongs to a session: another name is another session
        const ws = socket;

        token = null;
        socket = null;

        if (ws) {
            ws.close(1000);
        }

        if (!offline) {
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

// who closes the tab leaves at once

window.onpagehide = () => {
    if (socket) {
        const ws = socket;

        socket = null;
        ws.close(1000);
    }
};

connect();
