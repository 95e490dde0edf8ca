/*
 * A room over the native protocol of nginx-fanout (docs/protocol.md), with
 * nothing but a WebSocket, or by wire.js where there is none.
 *
 * A client keeps two things over a cut: the resume token, which gives it its
 * client id back, and the position of the last message it has seen, from
 * which the server tells it exactly what it missed.
 *
 * Who is here comes as a list with the reply to the join and as changes of it
 * from then on; what is of no use later, pointers and typing, by signals.
 */

"use strict";

const channel = "room:lobby";
const linger = 5000;                    // ms, "linger=" in the configuration

// by slot; white is readable on each

const colours = ["#0369a1", "#c2410c", "#7c3aed", "#15803d", "#be185d",
                 "#966008", "#0f766e", "#b91c1c", "#4338ca", "#4d7c0f",
                 "#86198f", "#475569"];

const $ = (id) => document.getElementById(id);

let socket = null;
let client = null;                      // our public id
let token = null;                       // secret: who has it is us
let position = null;                    // { epoch, offset } last seen
let recovering = false;                 // the join under way has a "since"
let attempts = 0;
let timer = 0;
let news = "";                          // why we come back
let countdown = 0;                      // while we are cut on purpose
let whisperTo = null;                   // a client id
let said = 0;                           // when others heard that we type
let asked = 0;                          // messages, for their ids

const members = new Map();              // by client id
const slots = new Map();                // client id: slot, also of the gone
const unsent = new Map();               // by id: no reply has come yet
const typists = new Map();              // client id: timer
const pointers = new Map();             // client id: { element, timer }
let listed = [];                        // members in the parts of a reply


// connecting

function connect() {
    const url = new URL("realtime", location.href);

    url.search = "?user=" + encodeURIComponent(name());

    show("connecting", token ? "reconnecting" : "connecting");
    $("state").dataset.way = Wire.way();

    const ws = socket = Wire.open(url, token, joining);

    // what a socket says after it was given up is not heard

    ws.onmessage = (e) => {
        if (ws === socket) {
            wire("in", e.data);
            [].concat(JSON.parse(e.data)).forEach(receive);
        }
    };

    ws.onclose = (e) => {
        if (ws === socket) {
            lost(e.code);
        }
    };
}

function lost(code, after) {
    const taken = code === 4409;

    socket = null;
    attempts++;
    still();

    if (taken) {
        show("cut", "taken over by another connection");
        return;
    }

    if (after === undefined) {
        after = Math.min(10000, 250 * 2 ** attempts) * (0.5 + Math.random());
    }

    show("cut", "cut, back in " + Math.ceil(after / 1000) + " s");
    timer = setTimeout(connect, after);
}

// 4000 is an end the server doesn't take for a goodbye: it keeps our place,
// as it does when a network fails

function cut() {
    const ws = socket;
    const until = Date.now() + linger;

    socket = null;
    ws.close(4000, "cut");

    show("cut", "cut");
    note("The connection is cut. Say something in the other tab.");
    still();

    $("fuse").style.transform = "";
    $("away").hidden = false;
    $("return").focus();

    const tick = () => {
        const ms = Math.max(0, until - Date.now());

        $("left").textContent = ms
            ? "You are cut. Others still see you for "
              + Math.ceil(ms / 1000) + " s."
            : "You are cut. Others saw you leave.";
        $("fuse").style.transform = "scaleX(" + ms / linger + ")";

        if (!ms) {
            clearInterval(countdown);
        }
    };

    tick();
    countdown = setInterval(tick, 250);
}

function back() {
    clearInterval(countdown);
    $("away").hidden = true;
    $("text").focus();
    connect();
}

// a name belongs to a session: another name is another session, which
// reads on where this one ended

function restart() {
    const ws = socket;

    clearTimeout(timer);
    clearInterval(countdown);
    $("away").hidden = true;
    still();
    token = null;
    socket = null;

    if (ws) {
        ws.close(1000);
    }

    connect();
}


// talking

function send(command) {
    const text = JSON.stringify(command);

    wire("out", text);
    socket.send(text);
}

// the last call within so many ms is never lost

function throttled(ms, call) {
    let next = 0;
    let timer = 0;

    return (...args) => {
        clearTimeout(timer);
        timer = setTimeout(() => {
            next = Date.now() + ms;
            call(...args);
        }, Math.max(0, next - Date.now()));
    };
}

function signal(event, data) {
    if (connected()) {
        send({ op: "signal", channel, event, data });
    }
}

function connected() {
    return $("state").dataset.state === "connected";
}

function joining() {
    const command = { id: "join", op: "join", channel, presence: {} };

    if (position !== null) {
        command.since = position;
    } else {
        command.history = 50;
    }

    return command;
}

function join() {
    recovering = position !== null;

    if (!recovering) {
        $("log").replaceChildren(...[...unsent.values()].map((u) => u.li));
    }

    listed = [];
    send(joining());
}

function receive(frame) {
    if (frame.welcome) {
        welcome(frame.welcome);

    } else if (frame.part) {
        // a large reply: each part has messages, members or both
        listed.push(...frame.part.members || []);
        (frame.part.messages || []).forEach((m) => message(m, recovering));

    } else if (frame.id === "join" && frame.ok) {
        joined(frame.ok);

    } else if (unsent.has(frame.id)) {
        replied(frame);

    } else if (frame.id === "members" && frame.ok) {
        everybody(frame.ok.members);

    } else if (frame.error) {
        note(frame.error.code + ": " + frame.error.message);

    } else if (frame.signal) {
        signalled(frame);

    } else if (frame.presence) {
        changed(frame.presence);
        moveTo(position.epoch, frame.offset);

    } else if (frame.left) {
        note("You were taken out of the room: " + frame.left.reason);

    } else if (frame.gap && frame.gap.of === "presence") {
        listed = [];
        send({ id: "members", op: "members", channel });

    } else if (frame.gap) {
        note("Fell behind: messages " + frame.gap.from + " to "
             + frame.gap.to + " are not kept any more.");
        moveTo(position.epoch, frame.gap.to);

    } else if (frame.reset) {
        position = null;
        join();

    } else if (frame.closing && frame.closing.reconnect) {
        // if NGINX was reloaded a new worker waits for us
        const ws = socket;

        news = frame.closing.code === "drain"
            ? "NGINX was reloaded."
            : "There was no place: " + frame.closing.code + ".";
        lost(0, frame.closing.after);
        ws.close(4000);

    } else if (frame.channel === channel && "data" in frame) {
        message(frame, false);
        moveTo(position.epoch, frame.offset);
    }
}

function welcome(w) {
    client = w.client;
    token = w.resume;
    attempts = 0;

    $("client").textContent = client + (w.resumed ? " (resumed)" : "");

    join();
}

function joined(ok) {
    if (recovering && !ok.recovered) {
        $("recovered").textContent = "no: more was missed than is kept";
        position = null;
        join();
        return;
    }

    everybody(ok.members || []);
    (ok.messages || []).forEach((m) => message(m, recovering));
    moveTo(ok.epoch, ok.offset);

    if (recovering) {
        $("recovered").textContent = "yes: " + ok.missed + " missed";
        note(news + " Recovered: " + ok.missed + " missed.");
    }

    news = "Back again.";

    show("connected", "connected");

    unsent.forEach((u) => send(u.command));
}


// who is here

function everybody(last) {
    const list = [...listed, ...last];
    const here = new Set(list.map((m) => m.client));

    for (const id of [...members.keys()]) {
        if (!here.has(id)) {
            gone(id);
        }
    }

    list.sort((a, b) => a.joined_at - b.joined_at).forEach(person);
}

function changed({ joined = [], updated = [], left = [] }) {
    for (const m of joined) {
        person(m);
        note((decoded(m.user) || "somebody") + " joined");
    }

    updated.forEach(person);

    for (const m of left) {
        gone(m.client);
        note((decoded(m.user) || "somebody") + " left"
             + (m.reason === "intentional" ? "" : " (" + m.reason + ")"));
    }
}

function person(m) {
    const who = decoded(m.user) || "somebody";
    const you = m.client === client;
    const button = element("button", "",
        element("span", "face", initials(who)),
        element("span", "called", you ? "you" : who));
    const old = members.get(m.client);
    const li = element("li", you ? "you" : "", button);

    button.type = "button";
    button.disabled = you;
    button.title = who + (m.state === "idle" ? " (idle)" : "");
    button.setAttribute("aria-label", you ? who + ", you"
        : who + (m.state === "idle" ? ", idle" : "") + ". Whisper to " + who);
    button.onclick = () => choose(whisperTo === m.client ? null : m.client);

    li.classList.toggle("idle", m.state === "idle");
    li.classList.toggle("chosen", whisperTo === m.client);

    members.set(m.client, { ...m, who, li });
    slots.set(m.client, m.slot);
    tint(li, m.client);

    if (!old) {
        $("people").append(li);
        return;
    }

    const focused = old.li.contains(document.activeElement);

    li.style.animation = "none";
    old.li.replaceWith(li);

    if (focused) {
        button.focus();
    }
}

function gone(id) {
    const { li } = members.get(id) || {};

    if (!li) {
        return;
    }

    members.delete(id);
    unpoint(id);
    typing(id, false);

    if (whisperTo === id) {
        choose(null);
    }

    li.classList.add("gone");
    li.inert = true;
    setTimeout(() => li.remove(), 300);
}

function initials(who) {
    const words = who.split(/\s+/).filter(Boolean);

    return words.slice(0, 2).map((w) => [...w][0]).join("").toUpperCase();
}

function tint(e, id) {
    if (slots.has(id)) {
        e.style.setProperty("--slot", colours[slots.get(id) % colours.length]);
    }
}


// pointers and typing

function signalled({ signal, data, from }) {
    const id = from && from.client;

    if (!members.has(id)) {
        return;
    }

    if (signal === "typing") {
        typing(id, data === true);

    } else if (signal === "cursor" && data) {
        point(id, data);

    } else if (signal === "cursor") {
        unpoint(id);
    }
}

function typing(id, on) {
    clearTimeout(typists.get(id));
    typists.delete(id);

    if (on) {
        typists.set(id, setTimeout(typing, 4000, id, false));
    }

    const names = [...typists.keys()].map((id) => members.get(id).who);

    $("typing").textContent = names.length === 0 ? ""
        : names.length > 3 ? names.length + " people are typing…"
        : names.join(", ") + (names.length > 1 ? " are" : " is") + " typing…";
}

function point(id, { x, y }) {
    if (!(x >= 0 && x <= 1 && y >= 0 && y <= 1)) {
        return;
    }

    const old = pointers.get(id);
    const e = old ? old.element : arrow(id);

    if (old) {
        clearTimeout(old.timer);
    }

    e.style.left = x * 100 + "%";
    e.style.top = y * 100 + "%";
    e.classList.toggle("flip", x > 0.7);

    pointers.set(id, { element: e, timer: setTimeout(unpoint, 6000, id) });
}

function arrow(id) {
    const e = element("div", "cursor");
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    const path = document.createElementNS(svg.namespaceURI, "path");

    svg.setAttribute("viewBox", "0 0 16 20");
    path.setAttribute("d", "M1 1v15l4-4 3 7 3-1-3-7h6z");
    svg.append(path);
    e.append(svg, element("span", "", members.get(id).who));
    tint(e, id);
    $("cursors").append(e);

    return e;
}

function unpoint(id) {
    const old = pointers.get(id);

    if (old) {
        clearTimeout(old.timer);
        old.element.remove();
        pointers.delete(id);
    }
}

// who is cut off can't know what others are doing

function still() {
    [...pointers.keys()].forEach(unpoint);
    [...typists.keys()].forEach((id) => typing(id, false));
}


// saying something: aloud, or as a whisper to one client

function choose(id) {
    whisperTo = id;

    for (const [client, { li }] of members) {
        li.classList.toggle("chosen", client === id);
    }

    $("aloud").hidden = !id;

    if (id) {
        const { who } = members.get(id);

        $("aloud").textContent = "Whispering to " + who + " ×";
        $("aloud").setAttribute("aria-label", "Stop whispering to " + who);
        $("text").focus();
    }

    $("text").placeholder = id ? "Only this person hears it"
        : "Say something";
}

// A message is kept until the server has replied.  After a cut it is sent once
// more: the server knows it by its key, and doesn't publish it twice.

function say(text) {
    const id = "say " + ++asked;
    const to = whisperTo;
    const li = element("li", "mine unsent",
        element("div", "about", element("span", "mark", "not sent yet")),
        element("div", "said", text));

    const u = {
        text, li, who: to ? members.get(to).who : "",
        command: { id, op: "publish", channel, event: "msg", key: random(),
                   data: { text } },
    };

    if (to) {
        u.command.to = { client: to };
    }

    unsent.set(id, u);
    append(li);

    if (connected()) {
        send(u.command);
    }
}

function random() {
    return [...crypto.getRandomValues(new Uint8Array(16))]
        .map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

function replied({ id, ok, error }) {
    const { text, li, who } = unsent.get(id);

    unsent.delete(id);
    li.remove();

    if (error) {
        note(error.code === "recipient_offline" ? who + " is not here any more."
             : "Not sent: " + error.message);

        if (!$("text").value) {
            $("text").value = text;
        }

    } else if (who) {
        // nobody but the recipient is told, so we show our own
        message({ offset: ok.offset, time: ok.time, data: { text },
                  from: { client, user: encodeURIComponent(name()) },
                  to: {} }, false, "to " + who
                + (ok.delivered ? "" : ", who is cut: it waits"));
    }
}


// showing

function show(state, text) {
    $("state").dataset.state = state;
    $("state").textContent = text;

    $("cut").disabled = state !== "connected";
    $("people").style.opacity = state === "connected" ? "" : "0.5";
}

function moveTo(epoch, offset) {
    position = { epoch, offset };

    $("epoch").textContent = epoch;
    $("offset").textContent = offset;
}

function message(m, recovered, whispered = "to you") {
    const from = m.from || {};
    const text = m.data && typeof m.data.text === "string"
        ? m.data.text : JSON.stringify(m.data);

    const about = element("div", "about",
        element("span", "who", decoded(from.user)
                || (from.client ? "somebody" : "by HTTP")),
        element("span", "", new Date(m.time).toLocaleTimeString()),
        element("span", "", "#" + m.offset));

    if (recovered) {
        about.append(element("span", "mark", "recovered"));
    }

    if (m.to) {
        about.append(element("span", "mark", "whispered " + whispered));
    }

    tint(about, from.client);
    typing(from.client, false);

    append(element("li", (from.client === client ? "mine" : "")
                         + (m.to ? " whisper" : ""),
                   about, element("div", "said", text)));
}

// $arg_user in the configuration is what stands in our URL, as it stands there

function decoded(user) {
    try {
        return decodeURIComponent(user || "");

    } catch {
        return user;
    }
}

function note(text) {
    append(element("li", "note", text));
}

function append(li) {
    const log = $("log");

    log.append(li);

    while (log.childElementCount > 500) {
        log.firstChild.remove();
    }

    log.scrollTop = log.scrollHeight;
}

function wire(direction, text) {
    const list = $("wire");
    const arrow = direction === "out" ? "→ " : "← ";

    // a row of pointers would push out all else

    const moves = text.includes('"cursor"');
    const last = list.lastChild;

    text = text.replace(/"r_[0-9a-f]+"/g, '"r_…"');

    if (moves && last && last.dataset.moves === direction) {
        last.textContent = arrow + text;
        return;
    }

    list.append(element("li", direction, arrow + text));
    list.lastChild.dataset.moves = moves ? direction : "";

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


// who we are: a tab keeps its name, a browser the one that was typed last: a second tab
// beside the first is somebody else

function name() {
    return sessionStorage.getItem("name") || "";
}

function keep(name) {
    sessionStorage.setItem("name", name);
    taken(name);
}

function taken(name) {
    return new Promise((resolve) => {
        if (!navigator.locks) {
            resolve(false);
            return;
        }

        navigator.locks.request("name " + name, { ifAvailable: true },
            (lock) => {
                resolve(!lock);
                return lock ? new Promise(() => {}) : null;
            });
    });
}

async function introduce() {
    const pick = (words) => words[Math.floor(Math.random() * words.length)];
    const kept = name() || localStorage.getItem("name");

    let who = kept;

    if (!who || await taken(who)) {
        who = pick(["Amber", "Brave", "Calm", "Dapper", "Eager", "Gentle",
                    "Jolly", "Keen", "Lucky", "Merry", "Nimble", "Quiet"])
              + " " + pick(["Badger", "Crane", "Dolphin", "Finch", "Gecko",
                            "Heron", "Lynx", "Otter", "Puffin", "Raven",
                            "Seal", "Wren"]);
        taken(who);
    }

    if (!kept) {
        localStorage.setItem("name", who);
    }

    sessionStorage.setItem("name", who);
    $("name").value = who;
}

function rename() {
    const wanted = $("name").value.trim();

    if (wanted && wanted !== name()) {
        localStorage.setItem("name", wanted);
        keep(wanted);
        news = "You are " + wanted + " now.";
        restart();
    }

    $("name").value = name();
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


$("channel").textContent = channel;
$("curl").textContent = "curl -d '{\"text\":\"hello from curl\"}' "
    + new URL("fanout/channels/" + channel + "/messages", location.href);

$("rename").onsubmit = (e) => { e.preventDefault(); $("name").blur(); };
$("name").onblur = rename;
$("cut").onclick = cut;
$("return").onclick = back;
$("aloud").onclick = () => { choose(null); $("text").focus(); };

$("say").onsubmit = (e) => {
    const text = $("text").value.trim();

    e.preventDefault();

    if (text) {
        say(text);
        $("text").value = "";
        said = 0;
    }
};

// what is whispered is nobody else's business, that it is typed neither

$("text").oninput = () => {
    if (!$("text").value) {
        said = 0;
        signal("typing", false);

    } else if (!whisperTo && Date.now() - said > 2000) {
        said = Date.now();
        signal("typing", true);
    }
};

$("text").onkeydown = (e) => {
    if (e.key === "Escape" && whisperTo) {
        choose(null);
    }
};

// as a part of the room, which is of another size elsewhere

const moved = throttled(50, (at) => signal("cursor", at));

$("stage").onpointermove = (e) => {
    const box = $("stage").getBoundingClientRect();
    const part = (v, size) => Math.min(1, Math.max(0,
        Math.round(v / size * 1000) / 1000));

    moved({ x: part(e.clientX - box.left, box.width),
            y: part(e.clientY - box.top, box.height) });
};

$("stage").onpointerleave = () => moved(null);

for (const button of document.querySelectorAll("[data-copy]")) {
    button.onclick = () => copy(button);
}

// who closes the tab leaves at once; one that is shown again comes back

window.onpagehide = () => {
    if (socket) {
        const ws = socket;

        socket = null;
        ws.close(1000);
    }
};

window.onpageshow = (e) => {
    if (e.persisted) {
        restart();
    }
};

introduce().then(connect);
