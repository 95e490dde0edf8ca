/*
 * The native protocol of nginx-fanout (docs/protocol.md) over what the network
 * lets through: a WebSocket; where that is blocked, server-sent events; where
 * those are held back by a buffer, long polls.  What comes of Wire.open() has
 * send(), close(), onmessage and onclose as a WebSocket has.
 *
 * A stream is read by fetch(): unlike EventSource it may send the token by
 * which a client that was cut stays who it is, and it tells the status.
 */

"use strict";

const Wire = (() => {
    const patience = 4000;              // ms for a stream to say something

    const ways = ["websocket", "sse", "poll"];
    let way = 0;                        // what this network lets through
    let flows = false;                  // a stream has said something

    // join() is asked for the join that a stream begins with

    function open(url, token, join) {
        return way === 0 ? socket(url, token)
                         : new Stream(url, token, join(), way === 2);
    }

    function socket(url, token) {
        const to = new URL(url);
        const protocols = ["fanout.v1"];

        to.protocol = to.protocol.replace("http", "ws");

        if (token) {
            protocols.push("fanout.resume." + token);
        }

        const ws = new WebSocket(to, protocols);
        let opened = false;

        ws.addEventListener("open", () => opened = true);
        ws.addEventListener("close", () => way = opened ? 0 : 1);

        return ws;
    }

    class Stream {
        constructor(url, token, join, polls) {
            this.url = url;
            this.token = token;
            this.polls = polls;
            this.posts = Promise.resolve();
            this.closed = false;
            this.start(join);
        }

        start(join) {
            this.join = join;
            this.asked = false;         // the join was sent
            this.reply = null;
            this.members = [];
            this.held = [];             // what comes before its reply
            this.place = null;
            this.abort = new AbortController();
            this.run(this.abort);
        }

        async run(abort) {
            try {
                await (this.polls ? this.poll(abort) : this.stream(abort));

            } catch (e) {
                // a network that is down says nothing about the next one
                if (e instanceof TypeError) {
                    way = 0;
                }
            }

            if (abort === this.abort) {
                this.end(1006);
            }
        }

        query() {
            const { id, op, ...join } = this.join;

            return this.with("join=" + encodeURIComponent(JSON.stringify(join))
                             + (this.polls ? "&poll=1&session=1" : "")
                             + (this.place ? "&since=" + this.place : ""));
        }

        // searchParams would write what is there anew, with "+" for blanks

        with(args) {
            const url = new URL(this.url);

            url.search += (url.search ? "&" : "?") + args;

            return url;
        }

        headers(more) {
            return this.token ? { "Fanout-Resume": this.token, ...more }
                              : more;
        }

        async stream(abort) {
            if (!flows && !await this.probe()) {
                return;
            }

            const r = await fetch(this.query(), {
                headers: this.headers({ Accept: "text/event-stream" }),
                signal: abort.signal,
            });

            const reader = r.ok ? r.body.getReader() : null;
            const decoder = new TextDecoder();
            let text = "";

            while (reader) {
                const { value, done } = await reader.read();

                if (done || abort !== this.abort) {
                    return;
                }

                text += decoder.decode(value, { stream: true });

                const events = text.split("\n\n");
                text = events.pop();
                events.forEach((e) => this.event(e));
            }
        }

        // Whether a stream says at once what it says, by one that makes no
        // member: of a client that never learns who it is others would see
        // the member until its linger is over.

        async probe() {
            const abort = new AbortController();
            const silent = setTimeout(() => {
                way = 2;
                abort.abort();
            }, patience);

            try {
                const r = await fetch(this.with("channel="
                    + encodeURIComponent(this.join.channel)), {
                    headers: { Accept: "text/event-stream" },
                    signal: abort.signal,
                });

                if (r.ok) {
                    flows = !(await r.body.getReader().read()).done;
                }

            } finally {
                clearTimeout(silent);
                abort.abort();
            }

            return flows;
        }

        event(text) {
            for (const line of text.split("\n")) {
                if (line.startsWith("data: ")) {
                    this.take(JSON.parse(line.slice(6)));
                }
            }
        }

        async poll(abort) {
            for (;;) {
                const r = await fetch(this.query(), {
                    headers: this.headers({}), signal: abort.signal,
                });

                if (!r.ok) {
                    return;
                }

                const objects = await r.json();

                if (abort !== this.abort) {
                    return;
                }

                this.place = r.headers.get("Fanout-Position");
                objects.forEach((o) => this.take(o));
            }
        }

        // the reply to a join and the members come one after the other

        take(o) {
            if (Array.isArray(o)) {
                o.forEach((one) => this.take(one));

            } else if (o.welcome) {
                this.token = o.welcome.resume;
                this.client = o.welcome.client;
                this.tell(o);

            } else if (o.part && o.part.members) {
                this.members.push(...o.part.members);

            } else if (o.ok && o.ok.members) {
                this.members.push(...o.ok.members);

                if (this.reply) {
                    this.reply.members = this.members;
                    this.ready();

                } else {
                    this.tell({ id: "members", ok: o.ok });
                }

            } else if (o.ok) {
                this.reply = o.ok;

            } else if (o.closing && o.closing.reconnect === false) {
                this.end(o.closing.status);

            } else if (o.closing) {
                // when to come back, which waits for no reply
                this.tell(o);

            } else if (this.held) {
                this.held.push(o);

            } else {
                this.tell(o);
            }
        }

        ready() {
            const { reply, held } = this;

            if (!this.asked || !reply || !reply.members || !held) {
                return;
            }

            this.held = null;
            this.reply = null;
            this.members = [];
            this.tell({ id: this.join.id, ok: reply });
            held.forEach((o) => this.tell(o));
        }

        tell(o) {
            if (!this.closed && this.onmessage) {
                this.onmessage({ data: JSON.stringify(o) });
            }
        }

        send(text) {
            const command = JSON.parse(text);

            if (command.op !== "join") {
                this.posts = this.posts.then(() => this.post(text));
                return;
            }

            if (this.asked) {
                // another one: the stream begins anew
                this.abort.abort();
                this.start(command);
            }

            this.asked = true;
            this.ready();
        }

        async post(text, more) {
            const url = new URL(this.url);

            try {
                const r = await fetch(url, {
                    method: "POST", body: text, ...more,
                    headers: this.headers({
                        "Content-Type": "application/json",
                    }),
                });

                if (r.status !== 204) {
                    [].concat(await r.json()).forEach((o) => this.tell(o));
                }

            } catch (e) {
                // that it is gone is told by the stream
            }
        }

        // 1000 is a goodbye: nobody is to wait for us

        close(code) {
            if (code === 1000) {
                this.post(JSON.stringify({
                    op: "leave", channel: this.join.channel,
                }), { keepalive: true });
            }

            this.end(code);
        }

        end(code) {
            if (this.closed) {
                return;
            }

            this.closed = true;
            this.abort.abort();

            if (this.onclose) {
                this.onclose({ code });
            }
        }
    }

    return { open, way: () => ways[way] };
})();
