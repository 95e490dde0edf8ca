/*
 * A room over the client of nginx-fanout (docs/client.md): it connects, comes
 * back, recovers what was missed, and sends what was written meanwhile. This
 * page shows what it says.
 *
 * Who is here is a live map; what is of no use later, pointers and typing, goes
 * by signals.
 */

import { Fanout } from "./client/fanout.js";
import { Network } from "./network.js";

const linger = 5000;                    // ms, "linger=" in the configuration

// by slot; white is readable on each

export const colours = ["#0369a1", "#c2410c", "#7c3aed", "#15803d", "#be185d",
                        "#966008", "#0f766e", "#b91c1c", "#4338ca", "#4d7c0f",
                        "#86198f", "#475569"];

const $ = (id) => document.getElementById(id);

export const network = new Network(wire);
export let hub;                         // a connection, of one name
let room;                               // its channel
let client = null;                      // our public id
let been = false;                       // in the room, before a cut
let missed = 0;                         // messages, while we come back
let news = "";                          // why we come back
let countdown = 0;                      // while we are cut on purpose
let whisperTo = null;                   // a client id
let said = 0;                           // when others heard that we type

const shown = new Map();                // client id: { who, li }
const slots = new Map();                // client id: slot, also of the gone
const unsent = new Map();               // key: { text, to, li }
const typists = new Map();              // client id: timer
export const pointers = new Map();      // client id: { element, timer }


// connecting

function connect() {
    const url = new URL("realtime", location.href);

    url.search = "?user=" + encodeURIComponent(name());

    hub = new Fanout(url, network.options);
    room = hub.channel("room:lobby", { history: 50, presence: {} });
    been = false;

    hub.on("state", changed);
    room.on("state", ({ state }) => state === "joined" ? joined() : draw());
    room.on("message", heard);
    room.on("signal", signalled);
    room.on("lost", lost);
    room.on("error", ({ code, message }) => note(code + ": " + message));
    room.presence.on("join", (m) => {
        person(m);
        tell(m, "joined");
    });
    room.presence.on("update", person);
    room.presence.on("leave", (m) => {
        gone(m.client);
        tell(m, "left" + (["intentional", "unknown"].includes(m.reason)
                          ? "" : " (" + m.reason + ")"));
    });
    draw();
}

function changed({ state, reason }) {
    if (state === "reconnecting") {
        still();
        missed = 0;
        news = reason && reason.code === "drain" ? "NGINX was reloaded."
                                                 : news || "Back again.";
    }

    draw();
}

function joined() {
    const { epoch, offset } = room.position;
    const resumed = been && hub.client === client;

    client = hub.client;
    $("client").textContent = client + (resumed ? " (resumed)" : "");

    moveTo(epoch, offset);

    if (been && news) {
        $("recovered").textContent = "yes: " + missed + " missed";
        note(news + " Recovered: " + missed + " missed.");
    }

    been = true;
    news = "";
    [...room.presence.values()].sort((a, b) => a.joined_at - b.joined_at)
        .forEach((m) => $("people").append(shown.get(m.client).li));
    draw();
}

function lost({ reason, from, to }) {
    if (reason === "gap") {
        note("Fell behind: messages " + from + " to " + to
             + " are not kept any more.");
        return;
    }

    $("recovered").textContent = "no: more was missed than is kept";
    $("log").replaceChildren(...[...unsent.values()].map((u) => u.li));
    been = false;
}

// others still see who is cut off for a while

function cut() {
    const until = Date.now() + linger;

    network.set("down");
    note("The connection is cut. Say something in the other tab.");

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
    network.set("up");
    hub.reconnect();
    draw();
}

// a name belongs to a session: another name is another session, which sends
// what this one could not

function restart() {
    const waiting = [...unsent.values()];

    clearInterval(countdown);
    $("away").hidden = true;
    network.set("up");
    still();
    unsent.clear();
    hub.close();
    [...shown.keys()].forEach(gone);
    $("log").replaceChildren();
    connect();
    waiting.forEach(({ text, to }) => say(text, to));
}


// talking

// where there is no connection, nobody hears them

function signal(event, data) {
    if (room) {
        room.signal(event, data);
    }
}

function heard(m) {
    const u = unsent.get(m.key);
    const again = been && !room.joined;

    if (u) {
        unsent.delete(m.key);
        u.li.remove();
    }

    missed += again ? 1 : 0;
    message(m, again);
    moveTo(room.position.epoch, m.offset);
}


// who is here

function tell(m, what) {
    if (room.joined) {
        note((decoded(m.user) || "somebody") + " " + what);
    }
}

function person(m) {
    const who = decoded(m.user) || "somebody";
    const you = m.client === hub.client;
    const button = element("button", "",
        element("span", "face", initials(who)),
        element("span", "called", you ? "you" : who));
    const old = shown.get(m.client);
    const li = element("li", you ? "you" : "", button);

    button.type = "button";
    button.firstChild.ariaHidden = "true";      // letters of the name
    button.disabled = you;
    button.title = (you ? who : "Whisper to " + who)
        + (m.state === "idle" ? " (idle)" : "");
    button.onclick = () => choose(whisperTo === m.client ? null : m.client);

    li.classList.toggle("idle", m.state === "idle");
    li.classList.toggle("chosen", whisperTo === m.client);

    shown.set(m.client, { who, li });
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
    const { li } = shown.get(id) || {};

    if (!li) {
        return;
    }

    shown.delete(id);
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

    if (!shown.has(id)) {
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

    const names = [...typists.keys()].map((id) => shown.get(id).who);

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
    e.append(svg, element("span", "", shown.get(id).who));
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

    for (const [client, { li }] of shown) {
        li.classList.toggle("chosen", client === id);
    }

    $("aloud").hidden = !id;

    if (id) {
        const { who } = shown.get(id);

        $("aloud").textContent = "Whispering to " + who + " ×";
        $("aloud").setAttribute("aria-label", "Stop whispering to " + who);
        $("text").focus();
    }

    $("text").placeholder = id ? "Only this person hears it"
        : "Say something";
}

// The client keeps a message until the server has it: also while there is no
// connection, and once, also when it has to be sent again.

function say(text, to = whisperTo) {
    const who = to && shown.has(to) ? shown.get(to).who : "";
    const li = element("li", "mine unsent",
        element("div", "about", element("span", "mark", "not sent yet")),
        element("div", "said", text));
    const sending = room.publish({ text },
        { event: "msg", ...to && { to: { client: to } } });

    const tell = ({ state, error, result }) => {
        if (state === "failed") {
            failed(text, who, error);

        } else if (state !== "sent") {
            return;

        } else if (to) {
            // nobody but the recipient is told, so we show our own
            message({ ...result, data: { text }, to: {}, from: {
                client: hub.client, user: encodeURIComponent(name()) },
            }, false, "to " + who
               + (result.delivered ? "" : ", who is cut: it waits"));
        }

        if (unsent.delete(sending.key)) {
            li.remove();
        }
    };

    append(li);
    unsent.set(sending.key, { text, to, li });
    sending.on("state", tell);
    tell(sending);
}

function failed(text, who, { code, message }) {
    if (code === "closed") {                // another name: it is said again
        return;
    }

    note(code === "recipient_offline" ? who + " is not here any more."
         : "Not sent: " + message);

    if (!$("text").value) {
        $("text").value = text;
    }
}


// showing

function draw() {
    const { state, reason } = hub;
    const here = hub.connected && room.joined;

    $("state").dataset.way = hub.transport || "";
    $("state").dataset.state = here ? "connected"
        : network.mode === "down" || state === "closed" ? "cut" : "connecting";
    $("state").textContent = here ? "connected"
        : network.mode === "down" ? "cut"
        : state === "closed" ? "closed: " + (reason ? reason.code : "")
        : state === "connected" ? "joining" : state;

    $("cut").disabled = !here;
    $("people").style.opacity = here ? "" : "0.5";
}

function moveTo(epoch, offset) {
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

    append(element("li", (from.client === hub.client ? "mine" : "")
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


$("channel").textContent = "room:lobby";
$("curl").textContent = "curl -d '{\"text\":\"hello from curl\"}' "
    + new URL("fanout/channels/room:lobby/messages", location.href);

$("rename").onsubmit = (e) => { e.preventDefault(); $("name").blur(); };
$("name").onblur = rename;
$("cut").onclick = cut;
$("return").onclick = back;
$("aloud").onclick = () => { choose(null); $("text").focus(); };

$("say").onsubmit = (e) => {
    const text = $("text").value.trim();

    e.preventDefault();

    if (text && room) {
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

$("stage").onpointermove = (e) => {
    const box = $("stage").getBoundingClientRect();
    const part = (v, size) => Math.min(1, Math.max(0,
        Math.round(v / size * 1000) / 1000));

    signal("cursor", { x: part(e.clientX - box.left, box.width),
                       y: part(e.clientY - box.top, box.height) });
};

$("stage").onpointerleave = () => signal("cursor", null);

for (const button of document.querySelectorAll("[data-copy]")) {
    button.onclick = () => copy(button);
}

introduce().then(connect);
