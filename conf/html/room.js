/*
 * A room over the native protocol of nginx-fanout (docs/protocol.md), with
 * nothing but a WebSocket.
 *
 * A client keeps two things over a cut: the resume token, which gives it its
 * client id back, and the position of the last message it has seen, from
 * which the server tells it exactly what it missed.
 */

"use strict";

const channel = "room:lobby";
const pause = 3000;                     // ms that "cut" stays cut

const $ = (id) => document.getElementById(id);

let socket = null;
let client = null;                      // our public id
let token = null;                       // secret: who has it is us
let position = null;                    // { epoch, offset } last seen
let recovering = false;                 // the join under way has a "since"
let attempts = 0;
let timer = 0;


// connecting

function connect() {
    const url = new URL("realtime", location.href);

    url.protocol = url.protocol.replace("http", "ws");
    url.search = "?user=" + encodeURIComponent(name());

    const protocols = ["fanout.v1"];

    if (token) {
        protocols.push("fanout.resume." + token);
    }

    show("connecting", token ? "reconnecting" : "connecting");

    const ws = socket = new WebSocket(url, protocols);

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

    lost(0, pause);
    ws.close(4000, "cut");
    note("The connection is cut. Say something in the other tab.");
}

// a name belongs to a session: another name is another session, which
// reads on where this one ended

function restart() {
    const ws = socket;

    clearTimeout(timer);
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

function join() {
    const command = { id: "join", op: "join", channel };

    recovering = position !== null;

    if (recovering) {
        command.since = position;
    } else {
        command.history = 50;
        $("log").replaceChildren();
    }

    send(command);
}

function receive(frame) {
    if (frame.welcome) {
        welcome(frame.welcome);

    } else if (frame.id === "join" && frame.part) {
        frame.part.messages.forEach((m) => message(m, recovering));

    } else if (frame.id === "join" && frame.ok) {
        joined(frame.ok);

    } else if (frame.error) {
        note(frame.error.code + ": " + frame.error.message);

    } else if (frame.gap) {
        note("Fell behind: messages " + frame.gap.from + " to "
             + frame.gap.to + " are not kept any more.");
        moveTo(position.epoch, frame.gap.to);

    } else if (frame.reset) {
        position = null;
        join();

    } else if (frame.closing && frame.closing.reconnect) {
        // NGINX was reloaded: a new worker waits for us
        const ws = socket;

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

    ok.messages.forEach((m) => message(m, recovering));
    moveTo(ok.epoch, ok.offset);

    if (recovering) {
        $("recovered").textContent = "yes: " + ok.missed + " missed";
        note("Back again. Recovered: " + ok.missed + " missed.");
    }

    show("connected", "connected");
}


// showing

function show(state, text) {
    $("state").dataset.state = state;
    $("state").textContent = text;

    $("send").disabled = $("cut").disabled = state !== "connected";
}

function moveTo(epoch, offset) {
    position = { epoch, offset };

    $("epoch").textContent = epoch;
    $("offset").textContent = offset;
}

function message(m, recovered) {
    const from = m.from || {};
    const text = m.data && typeof m.data.text === "string"
        ? m.data.text : JSON.stringify(m.data);

    const about = element("div", "about",
        element("span", "who", decoded(from.user) || "by HTTP"),
        element("span", "", new Date(m.time).toLocaleTimeString()),
        element("span", "", "#" + m.offset));

    if (recovered) {
        about.append(element("span", "mark", "recovered"));
    }

    append(element("li", from.client === client ? "mine" : "",
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

    text = text.replace(/"r_[0-9a-f]+"/g, '"r_…"');
    list.append(element("li", direction, arrow + text));

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


// who we are

function name() {
    const pick = (words) => words[Math.floor(Math.random() * words.length)];

    let name = sessionStorage.getItem("name");

    if (!name) {
        name = pick(["Amber", "Brave", "Calm", "Dapper", "Eager", "Gentle",
                     "Jolly", "Keen", "Lucky", "Merry", "Nimble", "Quiet"])
             + " " + pick(["Badger", "Crane", "Dolphin", "Finch", "Gecko",
                           "Heron", "Lynx", "Otter", "Puffin", "Raven",
                           "Seal", "Wren"]);
        sessionStorage.setItem("name", name);
    }

    return name;
}

function rename() {
    const wanted = $("name").value.trim();

    if (wanted && wanted !== name()) {
        sessionStorage.setItem("name", wanted);
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


$("name").value = name();
$("channel").textContent = channel;
$("curl").textContent = "curl -d '{\"text\":\"hello from curl\"}' "
    + new URL("fanout/channels/" + channel + "/messages", location.href);

$("rename").onsubmit = (e) => { e.preventDefault(); $("name").blur(); };
$("name").onblur = rename;
$("cut").onclick = cut;

$("say").onsubmit = (e) => {
    const text = $("text").value.trim();

    e.preventDefault();

    if (text && !$("send").disabled) {
        send({ op: "publish", channel, event: "msg", data: { text } });
        $("text").value = "";
    }
};

for (const button of document.querySelectorAll("[data-copy]")) {
    button.onclick = () => copy(button);
}

connect();
